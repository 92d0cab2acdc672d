#pragma once

#include <cstdint>

namespace millrace::model {

/// What a forward pass keeps for the backward pass.
enum class activations : std::uint8_t {
  kept,       ///< all that the gradients need, of every block
  recomputed, ///< each block's input; the rest is computed again, with the same bits, when the gradient comes to the
              ///< block
};

} // namespace millrace::model
