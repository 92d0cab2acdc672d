#pragma once

#include "algorithms/algorithm.hpp"
#include "algorithms/hyperparameters.hpp"

#include <ATen/core/Tensor.h>

#include <string_view>

namespace millrace::algorithms {

/// The log-ratio of a weight: the token's own, the answer's sum or the answer's mean.
inline constexpr std::string_view levels[] = {"token", "sequence", "geometric"};

namespace shared_options {

inline constexpr hyperparameter level_of_weight{
    .name = "level",
    .fallback = 0,
    .low = 0,
    .high = 2,
    .meaning = "ratio of a token: its own, the product over its answer, or the answer's geometric mean",
    .words = levels,
};

} // namespace shared_options

/// d = old - behaviour of each token, in float or better, detached.
/// @returns [N] @throws c10::Error for columns that are missing or of two shapes
at::Tensor log_ratio(const answer_columns& answers);

/// The sum, mean or maximum of a token's answer, at each token. @param x [N]   @param length [A] int64, sums to N
/// @returns [N]
at::Tensor answer_sum(const at::Tensor& x, const at::Tensor& length);
at::Tensor answer_mean(const at::Tensor& x, const at::Tensor& length);
at::Tensor answer_max(const at::Tensor& x, const at::Tensor& length);

/// exp of the log-ratio at a level (one of `levels`), clamped to [-20, 20] first.
at::Tensor importance(const answer_columns& answers, std::string_view level);

/// `weight` where `keep` holds, else 0, counting what it masks. @param keep [N] bool
at::Tensor kept(const at::Tensor& weight, const at::Tensor& keep, diagnostics& found);

} // namespace millrace::algorithms
