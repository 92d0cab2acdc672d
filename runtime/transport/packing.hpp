#pragma once

#include "runtime/words/tensor_spec.hpp"

#include <cstddef>
#include <span>
#include <vector>

namespace millrace::transport {

/// Where tensors lie when packed into one block: each at the next multiple of 64 bytes.
struct packing {
  std::vector<std::size_t> offsets;
  std::size_t bytes = 0; ///< of the block: the end of the last tensor, not rounded up
};

/// @throws std::invalid_argument as bytes_of, and for two tensors of one name.
packing pack(std::span<const tensor_spec> layout);

} // namespace millrace::transport
