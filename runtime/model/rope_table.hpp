#pragma once

#include "runtime/model/model_config.hpp"

#include <ATen/core/Tensor.h>

#include <array>

namespace millrace::model {

/// The cosines and sines by which every position rotates the pairs of a head, each [max_positions, head_dim / 2], fp32
/// on the CPU. The frequencies are computed in fp32 step by step as transformers does: at position 1000 their last bit
/// is worth 1e-4 of an angle.
///
/// YaRN: Peng et al. 2023, arXiv:2309.00071, sections 3.2 to 3.4. Differs from it in: `attention_factor` multiplies
/// cosines and sines, which scales queries and keys, in place of a temperature of the attention's softmax.
std::array<at::Tensor, 2> rope_table(const model_config& config);

} // namespace millrace::model
