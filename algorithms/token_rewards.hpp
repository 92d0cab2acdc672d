#pragma once

#include "algorithms/algorithm.hpp"
#include "algorithms/kl.hpp"

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

/// The place that pays for the distance to the reference.
enum class kl_form {
  answer, ///< its whole KL comes off its reward, before any baseline
  to_go,  ///< each token pays its own KL and that of all tokens after it
  own,    ///< each token pays its own KL only
};

namespace shared_options {

/// The options of rewards, the same in every algorithm that has them.
inline constexpr hyperparameter reward_clip{
    .name = "reward_clip",
    .fallback = 0,
    .low = 0,
    .high = 1e9,
    .meaning = "rewards are cut to [-reward_clip, reward_clip]; 0: no cut",
};
inline constexpr hyperparameter kl_in_reward{
    .name = "kl_in_reward",
    .fallback = 0,
    .low = 0,
    .high = 1e9,
    .meaning = "this times the KL comes off the reward; above 0 needs ref_logprob",
};
inline constexpr hyperparameter kl_in_reward_estimator{
    .name = "kl_in_reward_estimator",
    .fallback = 1,
    .low = 1,
    .high = 3,
    .meaning = "estimator of KL(behaviour || reference). 1: k1; 2: k2; 3: k3",
    .takes = range::whole,
};

constexpr hyperparameter kl_in_reward_form(kl_form fallback) {
  return {
      .name = "kl_in_reward_form",
      .fallback = static_cast<double>(fallback),
      .low = 0,
      .high = 2,
      .meaning =
          "who pays the KL. 0: the answer, before the baseline; 1: each token, from itself on; 2: each token its own",
      .takes = range::whole,
  };
}

} // namespace shared_options

/// @returns [A] rewards after the clip, detached
at::Tensor clipped_reward(const step_columns& step, const hyperparameter_values& values);

/// @returns [N] kl_in_reward * KL_t at each sampled token, KL_t within `step.clamps`, dtype of the rewards, detached; 0
/// without a coefficient
/// @throws c10::Error naming ref_logprob where it is needed and missing
at::Tensor token_penalties(const step_columns& step, const hyperparameter_values& values);

/// The reward of each token, r_t = R [t = T] - kl_in_reward * KL_t; an empty answer has none.
/// `values` of a row with reward_clip, kl_in_reward and kl_in_reward_estimator. @returns [N]
at::Tensor token_rewards(const step_columns& step, const hyperparameter_values& values);

/// The rewards that a baseline is taken of: after the clip and, with kl_in_reward_form 0, less the answer's KL.
/// @returns [A]
at::Tensor shaped_reward(const step_columns& step, const hyperparameter_values& values);

/// The return of each token from its answer's worth a: G_t = gamma^(T - t) a, less the KL that form 1 or 2 has it pay.
/// @param per_answer [A]   @returns [N]
at::Tensor charge_tokens(const at::Tensor& per_answer, const step_columns& step, const hyperparameter_values& values,
                         double gamma = 1);

/// Discounted sum over the rest of each answer, its own token included: G_t = r_t + gamma G_{t+1}.
/// @param per_token [N]   @param length [A] int64, sums to N   @returns [N] dtype of `per_token`
at::Tensor return_to_go(const at::Tensor& per_token, const at::Tensor& length, double gamma);

} // namespace millrace::algorithms
