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

constexpr auto words_for(failure_kind) {
  return std::to_array<std::string_view>({"timeout", "crash", "malformed", "refused"});
}

} // namespace millrace
