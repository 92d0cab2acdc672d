#pragma once

#include "algorithms/diagnostics.hpp"

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

/// Clipped policy-gradient surrogate per token, r = exp(logprob - old):
///
///     L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A);   for A < 0 and dual_clip > 0: L = min(L, -dual_clip A)
///
/// At r = 1 its gradient is that of -A logprob, the plain policy gradient. The exponent is clamped to [-20, 20].
///
/// @param logprob   [N] differentiable   @param old,advantage [N] detached
/// @param dual_clip 0 for none, else > 1
/// @param found     `clipped` grows by the tokens whose gradient was cut
/// @returns [N]
///
/// Source: Schulman et al. 2017, PPO, arXiv:1707.06347, eq. 7; dual clip: Ye et al. 2020, arXiv:1912.09729, eq. 5.
at::Tensor clipped_surrogate(const at::Tensor& logprob, const at::Tensor& old, const at::Tensor& advantage,
                             double clip_low, double clip_high, double dual_clip, diagnostics& found);

/// The same for a ratio that was taken otherwise: of whole answers, standing at each of their tokens.
/// @param ratio [N] differentiable, > 0
at::Tensor clipped_surrogate_at(const at::Tensor& ratio, const at::Tensor& advantage, double clip_low, double clip_high,
                                double dual_clip, diagnostics& found);

/// How the log-ratios of an answer's tokens make the log-ratio of the answer.
enum class answer_ratio { sum, mean };

/// The log-ratio of each token's answer: the sum or the mean over the answer of logprob - old, clamped to [-20, 20].
/// @param length [A], sums to N   @returns [N] differentiable in `logprob`
at::Tensor answer_log_ratio(const at::Tensor& logprob, const at::Tensor& old, const at::Tensor& length,
                            answer_ratio how);

} // namespace millrace::algorithms
