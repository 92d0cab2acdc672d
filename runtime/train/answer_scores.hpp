#pragma once

#include "runtime/model/activations.hpp"
#include "runtime/model/arithmetic.hpp"
#include "runtime/model/block_weights.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/train/micro_batches.hpp"
#include "runtime/train/training_group.hpp"

#include <ATen/core/Tensor.h>

#include <span>

namespace millrace::train {

/// What a score head makes of a micro-batch.
struct scored_answers {
  at::Tensor score; ///< [answers], differentiable in the parameters
  at::Tensor fed;   ///< [tokens fed] int64
};

/// Scores each answer of a micro-batch, read where `model::answer_scores` reads it.
/// @param blocks,how as `model::training_operations` wants them
scored_answers answer_scores(const model::decoder& decoder, std::span<const training_group> groups,
                             const micro_batch& batch, model::activations kept = model::activations::kept,
                             model::block_weights* blocks = nullptr, const model::arithmetic& how = {});

/// Pairs of answers of a group with different rewards, and in how many of them the better one has the larger score.
struct ranked_pairs {
  std::int64_t right = 0, pairs = 0;
};

/// @param score,reward [A]   @param group [A] int64, ascending
ranked_pairs rank_pairs(const at::Tensor& score, const at::Tensor& reward, const at::Tensor& group);

} // namespace millrace::train
