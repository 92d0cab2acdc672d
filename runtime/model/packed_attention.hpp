#pragma once

#include "runtime/model/packed_sequences.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace millrace::model {

/// Which tokens of packed groups see which, as pieces without a hole: a prompt sees itself, an answer itself, each up
/// to the token, and all answers of a group see its prompt. The same for every layer.
struct seen_pieces {
  struct tokens {
    std::int64_t first = 0, count = 0; ///< of those fed
  };

  struct group {
    tokens prompt, answers;        ///< `answers`: all of them, one after another
    std::vector<tokens> sequences; ///< the prompt, and each answer that is fed
  };

  explicit seen_pieces(std::span<const packed_group> packed);

  std::vector<group> groups;
  std::int64_t fed = 0; ///< T
};

/// Attention with shared prompts: softmax(q k^T / sqrt(head_dim)) v of what each token sees. Query head h reads key
/// head h / (heads / kv_heads). Differentiable, on the CPU, in float, double or bfloat16, whose scores and sums are
/// fp32. Pieces go through LibTorch's own kernel one after another, and an answer's two pieces are put together by the
/// denominators of their softmaxes (Dao et al. 2022, arXiv:2205.14135, section 3.1): what nobody sees is not
/// multiplied. It keeps its inputs, its output and a number for each token and head. Nothing of a group depends on the
/// other groups.
///
/// @param q [T, heads, head_dim]   @param k,v [T, kv_heads, head_dim]
/// @returns [T, heads * head_dim]
at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::shared_ptr<const seen_pieces> pieces);

/// The same of a square a group, of which the mask says what is seen, on any device. Scores of one group exist at a
/// time, never of the batch. @param masks as `attention_masks` makes them
at::Tensor masked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::span<const at::Tensor> masks);

/// Which tokens of a group see which, [tokens, tokens] bool for each group.
std::vector<at::Tensor> attention_masks(std::span<const packed_group> groups, at::Device device);

} // namespace millrace::model
