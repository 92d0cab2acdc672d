#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace millrace {

/// How tensors travel between the ranks of a learner.
enum class rank_wire : std::uint8_t {
  automatic, ///< NCCL where each rank has a GPU of its own, else Gloo
  gloo,      ///< over TCP, through the memory of the hosts
  nccl,      ///< from GPU to GPU
};

constexpr auto words_for(rank_wire) {
  return std::to_array<std::string_view>({"auto", "gloo", "nccl"});
}

} // namespace millrace
