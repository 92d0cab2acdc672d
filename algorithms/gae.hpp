#pragma once

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

/// Advantages of answers laid one after another, and the targets of the critic.
struct gae {
  at::Tensor advantages; ///< [N] not whitened
  at::Tensor returns;    ///< [N] advantages + value: the target of `value_loss`
};

/// Generalised advantage estimation inside each answer. Past the last token, value and advantage are 0:
///
///     delta_t = r_t + gamma V_{t+1} - V_t        A_t = delta_t + gamma lambda A_{t+1}        G_t = A_t + V_t
///
/// Tokens that are not an answer's own (a tool's words) are not in the columns, so V_{t+1} is the value at the next
/// token that the policy sampled: verl and NeMo-RL carry it over the gap too, OpenRLHF puts V = 0 there.
///
/// @param token_reward,value [N] floating point, finite   @param length [A] int64, sums to N; 0 allowed
/// @param gamma  discount, 0 to 1   @param lambda [A] of each answer, 0 to 1
/// @returns both [N], dtype of `token_reward`, detached
///
/// Source: Schulman et al. 2015, arXiv:1506.02438, eq. 16.
gae generalised_advantages(const at::Tensor& token_reward, const at::Tensor& value, const at::Tensor& length,
                           double gamma, const at::Tensor& lambda);

/// The same lambda for every answer.
gae generalised_advantages(const at::Tensor& token_reward, const at::Tensor& value, const at::Tensor& length,
                           double gamma, double lambda);

/// lambda = 1 - 1 / max(alpha T, 1) for an answer of T tokens: long answers look further.
/// @param length [A] int64   @param alpha > 0   @returns [A] double
///
/// Source: Yue et al. 2025, VAPO, arXiv:2504.05118, section 4.1 (alpha 0.05).
at::Tensor length_adaptive_lambda(const at::Tensor& length, double alpha);

} // namespace millrace::algorithms
