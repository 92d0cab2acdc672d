#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <string_view>

namespace millrace::algorithms {

/// The value of the term, and its gradient:
///
///     k1 k2 k3                    the estimator's own
///     k1+ k3+                     the value of k1 or k3, the gradient of k2, which is that of the KL on average
///     k1_score k2_score k3_score  the estimator times exp(logprob - sg logprob): the sampling of the token counts too,
///                                 and the gradient of k1 and k3 is that of the KL on average
enum class kl_estimator { k1, k2, k3, k1_straight, k3_straight, k1_score, k2_score, k3_score };

inline constexpr std::array<std::string_view, 8> kl_estimator_words{"k1",  "k2",       "k3",       "k1+",
                                                                    "k3+", "k1_score", "k2_score", "k3_score"};

/// Bounds that keep one token from ruling a batch, or its answer's reward. Beyond a bound, the gradient of the token is
/// 0; of k1+ and k3+ it stays that of k2, as at verl.
struct kl_clamps {
  /// Largest |d| of every estimator; 0: only k3 is bounded, at 20, where its exponential would overflow.
  double input = 0;
  double output = 0; ///< largest |estimate|; 0: no bound

  /// |d| at which the exponential of k3 is cut off in any case: a larger `input` would do nothing.
  static constexpr double k3_input = 20;
};

/// Per-token estimate of KL(current || reference) at a token sampled from the current policy, d = ref - logprob:
///
///     k1 = -d          unbiased, high variance; as a loss its gradient is zero on average
///     k2 = d^2 / 2     biased; its gradient is that of the KL
///     k3 = e^d - d - 1 unbiased, never negative; its gradient is that of the KL of the other direction
///
/// @param logprob,ref_logprob same shape, floating point; differentiable in `logprob`
///
/// Source: J. Schulman 2020, "Approximating KL divergence"; straight through: verl core_algos.py::kl_penalty; score:
/// arXiv:2506.09477, NeMo-RL loss_functions.py::ClippedPGLossFn. TRL's use_bias_correction_kl is k3_score while
/// the policy is that of the start of the step.
/// Clamps: verl input 20 and output 10 for k3, OpenRLHF output 10, NeMo-RL input 20 and output 10, TRL none.
at::Tensor kl_term(kl_estimator estimator, const at::Tensor& logprob, const at::Tensor& ref_logprob,
                   const kl_clamps& clamps = {});

/// One of `kl_estimator_words`. @throws std::invalid_argument for another word
kl_estimator kl_estimator_named(std::string_view name);

} // namespace millrace::algorithms
