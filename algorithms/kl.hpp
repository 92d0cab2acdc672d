#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>

namespace millrace::algorithms {

enum class kl_estimator { k1, k2, k3 };

/// Per-token estimate of KL(current || reference) at a token sampled from the current policy, d = ref - logprob:
///
///     k1 = -d          unbiased, high variance; as a loss its gradient is zero on average
///     k2 = d^2 / 2     biased; its gradient is that of the KL
///     k3 = e^d - d - 1 unbiased, never negative
///
/// d is clamped to [-20, 20] for k3, whose exponential would overflow.
/// @param logprob,ref_logprob same shape, floating point; differentiable in `logprob`
///
/// Source: J. Schulman 2020, "Approximating KL divergence"; clamp as in verl core_algos.py::kl_penalty_forward.
at::Tensor kl_term(kl_estimator estimator, const at::Tensor& logprob, const at::Tensor& ref_logprob);

/// "k1", "k2", "k3". @throws std::invalid_argument for another word
kl_estimator kl_estimator_named(std::string_view name);

} // namespace millrace::algorithms
