#pragma once

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

/// Truncated importance weight of a token that an older policy sampled, detached:
///
///     w = min(exp(old - behaviour), cap)
///
/// The exponent is clamped to [-20, 20]. `cap` = 0 turns the correction off: w = 1.
/// @param old,behaviour same shape, floating point
///
/// Source: Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training" (TIS), token level.
at::Tensor truncated_importance_weight(const at::Tensor& old, const at::Tensor& behaviour, double cap);

} // namespace millrace::algorithms
