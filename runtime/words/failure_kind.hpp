#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace millrace {

/// How scoring an answer failed.
enum class failure_kind : std::uint8_t {
  timeout,   ///< no answer before the deadline
  crash,     ///< the function raised, or its process ended
  malformed, ///< what came back is no score: not a number, not finite, of the wrong length, half a reply
  refused,   ///< nobody took the question: the process does not start, the rule gives up
};

inline constexpr std::array<std::string_view, 4> failure_words{"timeout", "crash", "malformed", "refused"};

constexpr std::string_view name_of(failure_kind kind) {
  return failure_words[static_cast<std::size_t>(kind)];
}

} // namespace millrace
