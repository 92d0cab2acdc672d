#pragma once

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

/// Mean and spread of the rewards of each answer's own group.
struct group_statistics {
  at::Tensor size;      ///< [A] answers in the group, dtype of the rewards
  at::Tensor mean;      ///< [A]
  at::Tensor deviation; ///< [A] unbiased standard deviation (n - 1); 0 in a group of one
  at::Tensor equal;     ///< [A] bool: all rewards of the group are the same, exactly
};

/// @param reward [A] floating point, finite   @param group [A] int64, ascending from 0
group_statistics statistics_by_group(const at::Tensor& reward, const at::Tensor& group);

/// Gives every token its answer's value. @param per_answer [A]   @param length [A] int64   @returns [sum of length]
at::Tensor spread_over_tokens(const at::Tensor& per_answer, const at::Tensor& length);

/// Sum of each answer's tokens; differentiable.
/// @param per_token [N]   @param length [A], sums to N   @returns [A], 0 for an empty answer
at::Tensor sum_by_answer(const at::Tensor& per_token, const at::Tensor& length);

/// Mean of each answer's tokens; differentiable. @returns [A], 0 for an empty answer
at::Tensor mean_by_answer(const at::Tensor& per_token, const at::Tensor& length);

/// Numbers groups from 0 in their order. @param group [A] int64, equal numbers side by side   @returns [A]
at::Tensor numbered_groups(const at::Tensor& group);

} // namespace millrace::algorithms
