#pragma once

#include "algorithms/policy_loss.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace millrace::algorithms {

/// A step and the current model's output, of any floating type. Masked tokens are not in the columns.
struct evaluation_batch {
  step_columns step;  ///< `old_logprob` undefined: the current policy is the old one
  at::Tensor logprob; ///< [N] current
  at::Tensor value;   ///< [N] the current critic's; undefined: `step.value`
  at::Tensor score;   ///< [A] of a score head, or undefined
  at::Tensor entropy; ///< [N] or undefined
  at::Tensor version; ///< [N] int64, or undefined
  std::int64_t policy_version = 0;
};

struct evaluation {
  at::Tensor advantages; ///< [N]
  at::Tensor returns;    ///< [N] target of the critic; undefined where the row has no `returns`
  at::Tensor weights;    ///< [N] the product of the corrections; ones without any
  double loss = 0;
  at::Tensor gradient;       ///< [N] of the loss with respect to `logprob`
  at::Tensor score_gradient; ///< [A] with respect to `score`; undefined without one
  double value_loss = 0;     ///< the critic's, mean over tokens, not part of `loss`
  at::Tensor value_gradient; ///< [N] of it with respect to `value`; undefined where the row has no returns
  diagnostics seen;
};

/// Advantages, loss and gradients of a whole step in one piece: the learner's work without a model.
/// @param value_clip of the critic's loss
/// @throws c10::Error naming the column that is missing
evaluation evaluate(const algorithm& row, const hyperparameter_values& values, const loss_options& options,
                    const evaluation_batch& batch, double value_clip = 0.2);

} // namespace millrace::algorithms
