#pragma once

#include "runtime/model/packed_sequences.hpp"

#include <ATen/core/Tensor.h>

#include <vector>

namespace millrace::model {

/// Causal attention with shared prompts: softmax(q k^T / sqrt(head_dim)) v where a token sees its prompt and its own
/// answer up to itself. Query head h reads key head h / (heads / kv_heads). Differentiable; scores of one group exist at
/// a time, never of the batch.
///
/// @param q [T, heads, head_dim]   @param k,v [T, kv_heads, head_dim]
/// @param groups their tokens add up to T
/// @returns [T, heads * head_dim]
at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<packed_group>& groups);

/// The same out of LibTorch's own operations with a mask per group: for devices and types without a kernel here, and
/// what the kernel is tested against.
at::Tensor masked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<packed_group>& groups);

} // namespace millrace::model
