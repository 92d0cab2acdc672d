#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace millrace {

/// What the ranks of a learner share out, so that each keeps 1 / n of it.
enum class sharding : std::uint8_t {
  none,      ///< each has everything
  optimizer, ///< moments: each rank updates its share of the parameters and hands it to the others
  full,      ///< parameters, gradients and moments: a block's parameters come together while it is computed
};

constexpr auto words_for(sharding) {
  return std::to_array<std::string_view>({"none", "optimizer", "full"});
}

} // namespace millrace
