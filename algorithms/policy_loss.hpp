#pragma once

#include "algorithms/aggregation.hpp"
#include "algorithms/algorithm.hpp"
#include "algorithms/correction.hpp"
#include "algorithms/diagnostics.hpp"
#include "algorithms/kl.hpp"

#include <ATen/core/Tensor.h>

#include <vector>

namespace millrace::algorithms {

/// A correction with its constants.
struct chosen_correction {
  const correction* row = nullptr;
  option_values values;
};

/// What every algorithm shares.
struct loss_options {
  aggregation how = aggregation::token_mean;
  double fixed_length = 1;        ///< tokens, > 0: the constant of aggregation fixed_length
  double kl_coefficient = 0;      ///< >= 0, of the KL term in the loss; above 0 `ref_logprob` is needed
  kl_estimator kl = kl_estimator::k3;
  double entropy_coefficient = 0; ///< >= 0, of the entropy bonus; above 0 `entropy` is needed
  std::vector<chosen_correction> corrections;
};

/// The loss of some answers of a step:
///
///     aggregate( prod_c w_c * losses + kl_coefficient * kl_term(logprob, ref_logprob) - entropy_coefficient * entropy )
///
/// Weights are detached and the denominators are the step's, whatever the weights are.
/// @param found grows by what was seen (all but `entropy`)
/// @returns scalar, differentiable in `answers.logprob`
at::Tensor policy_loss(const algorithm& row, const option_values& values, const loss_options& options,
                       const answer_columns& answers, const step_totals& totals, diagnostics& found);

} // namespace millrace::algorithms
