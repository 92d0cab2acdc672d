#pragma once

#include "algorithms/algorithm.hpp"

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

/// Which answers of a group are better than which: every two of different reward.
struct preference_pairs {
  at::Tensor chosen;   ///< [P] int64, place of the answer with the larger reward
  at::Tensor rejected; ///< [P] int64, of the same group
  at::Tensor weight;   ///< [P] 1 over the pairs of the group, dtype of the rewards
};

/// @param reward [A] floating point, finite   @param group [A] int64, equal numbers side by side
preference_pairs pairs_of(const at::Tensor& reward, const at::Tensor& group);

/// The advantages of an algorithm that trains on pairs: 1 at the tokens of groups that have a pair, else 0.
at::Tensor pair_advantages(const step_columns& step, const hyperparameter_values& values);

/// The mean loss of each group's pairs, at each of the group's tokens; 0 for a group without pairs.
/// @param losses [P] differentiable   @param length [A]   @returns [N]
at::Tensor pair_losses_at_tokens(const at::Tensor& losses, const preference_pairs& pairs, const at::Tensor& group,
                                 const at::Tensor& length);

} // namespace millrace::algorithms
