#pragma once

#include "algorithms/options.hpp"

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

/// The options of group-relative advantages, alike in every algorithm that has them.
inline constexpr option normalise{"normalise", 1, 0, 2, "divide by the standard deviation of, 1: the group, 2: the step; 0: do not divide"};
inline constexpr option group_eps{"eps", 1e-6, 0, 1, "added to the standard deviation"};
inline constexpr option leave_one_out{"leave_one_out", 0, 0, 1, "1: mean and deviation of the group's other answers"};

/// What each answer is worth against its group, by the options `normalise`, `eps` and `leave_one_out` of the row:
///
///     a_i = (R_i - mean) / (std + eps)
///
/// std with n - 1. Leaving one out, mean and std are those of the group's other answers and an answer whose others all
/// agree is not divided (NeMo-RL). Exactly 0 in a group of one or of equal rewards.
///
/// @param reward [A] floating point, finite   @param group [A] int64, ascending from 0   @returns [A] detached
at::Tensor group_advantages(const at::Tensor& reward, const at::Tensor& group, const option_values& values);

} // namespace millrace::algorithms
