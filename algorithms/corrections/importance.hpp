#pragma once

#include "algorithms/algorithm.hpp"
#include "algorithms/options.hpp"

#include <ATen/core/Tensor.h>

#include <string_view>

namespace millrace::algorithms {

/// Over what the log-ratio of a weight is taken: the token, the answer's sum, the answer's mean.
inline constexpr std::string_view levels[] = {"token", "sequence", "geometric"};

inline constexpr option level_of_weight{
    "level", 0, 0, 2, "of the ratio: each token's, the answer's product, its geometric mean", levels};

/// d = old - behaviour of each token, in float or better, detached.
/// @returns [N] @throws c10::Error for columns that are missing or of two shapes
at::Tensor log_ratio(const answer_columns& answers);

/// Gives every token a figure of its answer. @param x [N]   @param length [A] int64, sums to N   @returns [N]
at::Tensor answer_sum(const at::Tensor& x, const at::Tensor& length);
at::Tensor answer_mean(const at::Tensor& x, const at::Tensor& length);
at::Tensor answer_max(const at::Tensor& x, const at::Tensor& length);

/// exp of the log-ratio at a level (one of `levels`), clamped to [-20, 20] first.
at::Tensor importance(const answer_columns& answers, std::string_view level);

/// `weight` where `keep` holds, else 0, counting what it masks. @param keep [N] bool
at::Tensor kept(const at::Tensor& weight, const at::Tensor& keep, diagnostics& found);

} // namespace millrace::algorithms
