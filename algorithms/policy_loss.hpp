#pragma once

#include "algorithms/aggregation.hpp"
#include "algorithms/algorithm.hpp"
#include "algorithms/anchor.hpp"
#include "algorithms/correction.hpp"
#include "algorithms/diagnostics.hpp"
#include "algorithms/kl.hpp"

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

namespace millrace::algorithms {

/// A correction with its constants.
struct chosen_correction {
  const correction* row = nullptr;
  hyperparameter_values values;
};

/// The options of a loss that every algorithm shares.
struct loss_options {
  std::optional<aggregation> how = {}; ///< without one, the algorithm's own
  double fixed_length = 1;             ///< tokens, > 0: the constant of aggregation fixed_length
  double kl_coefficient = 0;           ///< >= 0, of the KL term in the loss; above 0 `ref_logprob` is needed
  kl_estimator kl = kl_estimator::k3;
  kl_clamps clamps = {};          ///< of the KL term, and of the KL in the reward (`step_columns::clamps`)
  double entropy_coefficient = 0; ///< >= 0, of the entropy bonus; above 0 `entropy` is needed
  proximal against = proximal::recomputed;
  std::vector<chosen_correction> corrections = {};
};

/// The loss of some answers of a step:
///
///     aggregate(prod_c w_c * losses + kl_coefficient * kl_term(logprob, ref_logprob) - entropy_coefficient * entropy)
///
/// The anchor takes the place of `old_logprob`. A token whose `trains` is false has the term 0, and its log-probability
/// is held constant, so that no loss of a whole answer moves it either. Weights are detached; the denominators are the
/// step's, whatever the weights are. A decoupled PPO is a clipped surrogate, `against` recomputed
/// or log-linear, with the correction `truncated`.
/// @param found grows by every figure but the entropies
/// @returns scalar, differentiable in `answers.logprob`
at::Tensor policy_loss(const algorithm& row, const hyperparameter_values& values, const loss_options& options,
                       const answer_columns& answers, const step_totals& totals, diagnostics& found);

/// Adds the entropies of the answers of the last `policy_loss`.
/// @param entropy [N]
void observe_entropy(const answer_columns& answers, const at::Tensor& entropy, diagnostics& found);

/// The product of all corrections' weights of a whole step. @returns [N] detached
at::Tensor correction_weights(const loss_options& options, const answer_columns& step);

/// Whether a correction must see the whole step: then `step_weights` goes before the first `policy_loss`.
bool needs_whole_step(const loss_options& options);

/// The product of the weights of those corrections, for `answer_columns::step_weight`. Where a step is not cut,
/// `policy_loss` finds them by itself.
/// @param step every answer of the step, `logprob` as it is at the start of the step
/// @returns [N] detached
at::Tensor step_weights(const loss_options& options, const answer_columns& step);

} // namespace millrace::algorithms
