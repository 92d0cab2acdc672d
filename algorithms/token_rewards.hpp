#pragma once

#include "algorithms/algorithm.hpp"
#include "algorithms/kl.hpp"

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

/// Who pays for the distance to the reference.
enum class kl_form {
  answer, ///< the answer: its whole KL comes off its reward, before any baseline
  to_go,  ///< each token, for its own KL and that of all after it
  own,    ///< each token, for its own KL only
};

/// The options of rewards, alike in every algorithm that has them.
inline constexpr option reward_clip{"reward_clip", 0, 0, 1e9, "rewards are cut to -this .. this; 0: not"};
inline constexpr option kl_in_reward{"kl_in_reward", 0, 0, 1e9, "coefficient of the KL taken off the reward; above 0 needs ref_logprob"};
inline constexpr option kl_in_reward_estimator{"kl_in_reward_estimator", 1, 1, 3, "1: k1, 2: k2, 3: k3, of the behaviour against the reference"};
constexpr option kl_in_reward_form(kl_form fallback) {
  return {"kl_in_reward_form", static_cast<double>(fallback), 0, 2,
          "0: the answer pays its whole KL before the baseline; 1: each token from itself on; 2: each token its own"};
}

/// @returns [A] rewards after the clip, detached
at::Tensor clipped_reward(const step_columns& step, const option_values& values);

/// @returns [N] kl_in_reward * KL_t at each sampled token, dtype of the rewards, detached; 0 without a coefficient
/// @throws c10::Error naming ref_logprob where it is needed and missing
at::Tensor token_penalties(const step_columns& step, const option_values& values);

/// What each token earned, r_t = R [t = T] - kl_in_reward * KL_t; an empty answer earns nothing.
/// `values` of a row with reward_clip, kl_in_reward and kl_in_reward_estimator. @returns [N]
at::Tensor token_rewards(const step_columns& step, const option_values& values);

/// The rewards that a baseline is taken of: after the clip and, with kl_in_reward_form 0, less the answer's KL. @returns [A]
at::Tensor shaped_reward(const step_columns& step, const option_values& values);

/// Returns of tokens out of what their answers are worth, G_t = gamma^(T - t) a - the KL that form 1 or 2 has them pay.
/// @param per_answer [A]   @returns [N]
at::Tensor charge_tokens(const at::Tensor& per_answer, const step_columns& step, const option_values& values, double gamma = 1);

/// Discounted sum over the rest of each answer, its own token included: G_t = r_t + gamma G_{t+1}.
/// @param per_token [N]   @param length [A] int64, sums to N   @returns [N] dtype of `per_token`
at::Tensor return_to_go(const at::Tensor& per_token, const at::Tensor& length, double gamma);

} // namespace millrace::algorithms
