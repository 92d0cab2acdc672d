#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace millrace::algorithms {

/// Sums over tokens, gathered by a critic's loss; micro-batches add up.
struct value_diagnostics {
  std::int64_t tokens = 0;
  std::int64_t clipped = 0;   ///< tokens whose gradient the clip cut
  double squared_error = 0;   ///< sum of (V - G)^2
  double returns = 0;         ///< sum of G
  double returns_squared = 0; ///< sum of G^2

  value_diagnostics& operator+=(const value_diagnostics& other);

  /// 1 - mean (V - G)^2 / var(G): 1 for a critic that is always right, 0 for the best constant; 0 where G is constant.
  double explained_variance() const;
};

/// A critic's loss at each token, G from `generalised_advantages`; `aggregate` makes one number of it over the step:
///
///     L = max( (V - G)^2, (clip(V, V_old - c, V_old + c) - G)^2 ) / 2
///
/// @param value [N] differentiable   @param old_value [N] the values that made the advantages   @param returns [N]
/// @param clip  c > 0; 0: no clip
/// @returns [N]
///
/// Source: Schulman et al. 2017, PPO's code (baselines ppo2); Ouyang et al. 2022, arXiv:2203.02155.
/// verl, OpenRLHF and TRL: the same. A coefficient in front (TRL 0.1) is the critic's learning rate here.
at::Tensor value_loss(const at::Tensor& value, const at::Tensor& old_value, const at::Tensor& returns, double clip,
                      value_diagnostics& found);

} // namespace millrace::algorithms
