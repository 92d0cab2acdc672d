#pragma once

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

struct vtrace_bounds {
  double rho = 1; ///< cap of the weight of each temporal difference: decides the value function that the targets aim at
  double c = 1;   ///< cap of the trace's weights: decides the speed, not the aim
  double pg_rho = 1; ///< cap of the weight of the policy gradient
};

struct vtrace_targets {
  at::Tensor values;     ///< [N] v_t, the target of the critic
  at::Tensor advantages; ///< [N] weighted: no further importance weight belongs on them
};

/// V-trace inside each answer, w = exp(log_ratio) clamped to [e^-20, e^20]; past the last token value and target are 0:
///
///     delta_t = min(rho, w_t) (r_t + gamma V_{t+1} - V_t)
///     v_t = V_t + delta_t + gamma min(c, w_t) (v_{t+1} - V_{t+1})
///     A_t = min(pg_rho, w_t) (r_t + gamma v_{t+1} - V_t)
///
/// @param log_ratio [N] target policy minus behaviour   @param token_reward,value [N] finite   @param length [A] int64
/// @returns both [N], dtype of `token_reward`, detached
///
/// Source: Espeholt et al. 2018, IMPALA, arXiv:1802.01561, eq. 1 and section 4.2. Differs from it in: nothing.
vtrace_targets trace_values(const at::Tensor& log_ratio, const at::Tensor& token_reward, const at::Tensor& value,
                            const at::Tensor& length, double gamma, const vtrace_bounds& bounds);

} // namespace millrace::algorithms
