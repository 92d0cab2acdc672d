#pragma once

#include "algorithms/algorithm.hpp"

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

namespace shared_options {

/// The options of group-relative advantages, the same in every algorithm that has them.
inline constexpr hyperparameter normalise{
    .name = "normalise",
    .fallback = 1,
    .low = 0,
    .high = 2,
    .meaning =
        "advantages are divided by the standard deviation of the rewards. 0: no; 1: of the group; 2: of the step",
    .takes = range::whole,
};
inline constexpr hyperparameter group_eps{
    .name = "eps",
    .fallback = 1e-6,
    .low = 0,
    .high = 1,
    .meaning = "added to the standard deviation",
};
inline constexpr hyperparameter leave_one_out{
    .name = "leave_one_out",
    .fallback = 0,
    .low = 0,
    .high = 1,
    .meaning = "1: an answer's mean and deviation are those of the group's other answers",
    .takes = range::whole,
};

} // namespace shared_options

/// The advantage of each answer over its group, by the options `normalise`, `eps` and `leave_one_out` of the row:
///
///     a_i = (R_i - mean) / (std + eps)
///
/// std is taken with n - 1. With leave_one_out, mean and std are those of the group's other answers; where these all
/// have one reward, nothing is divided (NeMo-RL). A group of one answer or of equal rewards has exactly 0.
///
/// @param reward [A] floating point, finite   @param group [A] int64, ascending from 0   @returns [A] detached
at::Tensor group_advantages(const at::Tensor& reward, const at::Tensor& group, const hyperparameter_values& values);

/// The same at each token of the step. @returns [N] detached
at::Tensor group_advantages_at_tokens(const step_columns& step, const hyperparameter_values& values);

} // namespace millrace::algorithms
