#pragma once

#include "algorithms/aggregation.hpp"
#include "algorithms/algorithm.hpp"
#include "algorithms/diagnostics.hpp"
#include "algorithms/kl.hpp"

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

/// What every algorithm shares.
struct loss_options {
  aggregation how = aggregation::token_mean;
  double kl_coefficient = 0; ///< >= 0, of the KL term in the loss; above 0 `ref_logprob` is needed
  kl_estimator kl = kl_estimator::k3;
  double importance_cap = 2; ///< >= 0; 0: no importance weight
};

/// The loss of some answers of a step:
///
///     aggregate( w * token_loss + kl_coefficient * kl_term(logprob, ref_logprob) ),  w = min(exp(old - behaviour), cap)
///
/// w is detached and the denominators are the step's, whatever w is.
/// @param found grows by what was seen (all but `entropy`)
/// @returns scalar, differentiable in `answers.logprob`
at::Tensor policy_loss(const algorithm& row, const option_values& values, const loss_options& options,
                       const answer_columns& answers, const step_totals& totals, diagnostics& found);

} // namespace millrace::algorithms
