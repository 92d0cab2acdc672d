#pragma once

#include "runtime/model/packed_sequences.hpp"

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

namespace millrace::model {

/// Which tokens of a group see which, [tokens, tokens] bool for each group: a row sees its prompt and its own answer up
/// to itself. The same for every layer.
std::vector<at::Tensor> attention_masks(std::span<const packed_group> groups, at::Device device);

/// Attention with shared prompts: softmax(q k^T / sqrt(head_dim)) v of what each token sees. Query head h reads key
/// head h / (heads / kv_heads). Differentiable, out of LibTorch's own operations; scores of one group exist at a time,
/// never of the batch.
///
/// @param q [T, heads, head_dim]   @param k,v [T, kv_heads, head_dim]
/// @param masks of the groups, whose tokens add up to T
/// @returns [T, heads * head_dim]
at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::span<const at::Tensor> masks);

/// The same of bfloat16 on the CPU, with scores and sums in fp32. It keeps its inputs and its output in bfloat16.
/// @param masks as `added_masks` makes them
at::Tensor packed_half_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const std::vector<at::Tensor>& masks);

/// Masks as fp32 numbers that are added to scores: 0 or -infinity.
std::vector<at::Tensor> added_masks(std::span<const at::Tensor> masks);

} // namespace millrace::model
