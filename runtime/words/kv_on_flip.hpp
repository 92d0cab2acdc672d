#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace millrace {

/// What becomes of the cached keys and values of running answers when the weights flip between two of their tokens.
enum class kv_on_flip : std::uint8_t {
  keep,      ///< they stay: later tokens attend to keys and values of several versions
  recompute, ///< prompt and answer are computed anew under the new weights before the next token
};

constexpr auto words_for(kv_on_flip) {
  return std::to_array<std::string_view>({"keep", "recompute"});
}

} // namespace millrace
