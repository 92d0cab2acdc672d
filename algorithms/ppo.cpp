#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/gae.hpp"
#include "algorithms/token_rewards.hpp"
#include "algorithms/whitening.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace ppo_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward", "value"};
constexpr hyperparameter options[] = {
    clip_low,
    clip_high,
    dual_clip,
    {.name = "gamma",
     .fallback = 1,
     .low = 0,
     .high = 1,
     .meaning = "discount of a token's reward for each token before it"},
    {.name = "lambda",
     .fallback = 0.95,
     .low = 0,
     .high = 1,
     .meaning = "trace of GAE. 0: one-step errors; 1: returns less values"},
    {.name = "length_adaptive",
     .fallback = 0,
     .low = 0,
     .high = 1e3,
     .meaning = "alpha of lambda = 1 - 1 / (alpha T), for an answer of T tokens; 0: lambda as given"},
    whitening_option(whitening::biased),
    whitening_eps,
    reward_clip,
    kl_in_reward,
    kl_in_reward_estimator,
};

at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  TORCH_CHECK(step.value.defined(), "value: missing, and ppo needs it");
  const double alpha = values.get("length_adaptive");
  const at::Tensor lambda = alpha > 0 ? length_adaptive_lambda(step.length, alpha)
                                      : at::full(step.length.sizes(), values.get("lambda"), at::kDouble);
  return whiten(
      generalised_advantages(token_rewards(step, values), step.value, step.length, values.get("gamma"), lambda)
          .advantages,
      values);
}

/// With `length_adaptive` the critic still learns from `lambda`, as in VAPO.
at::Tensor returns(const step_columns& step, const hyperparameter_values& values) {
  TORCH_CHECK(step.value.defined(), "value: missing, and ppo needs it");
  return generalised_advantages(token_rewards(step, values), step.value, step.length, values.get("gamma"),
                                values.get("lambda"))
      .returns;
}

} // namespace ppo_row

extern const algorithm ppo;
const algorithm ppo{
    .name = "ppo",
    .source = "Schulman et al. 2017, PPO, arXiv:1707.06347; GAE, arXiv:1506.02438; on language models: Ziegler et al. "
              "2019, arXiv:1909.08593",
    .summary = "a critic's generalised advantages, whitened over the step; clipped surrogate",
    .formula = "r_t = R [t = T] - kl_in_reward * KL_t;  delta_t = r_t + gamma V_{t+1} - V_t;  A_t = delta_t + gamma "
               "lambda A_{t+1}\n"
               "A <- (A - mean(A)) / sqrt(var(A) + eps), over the step;  the critic's target is A + V before that\n"
               "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A);  A < 0 and dual_clip "
               "c: L = min(L, -c A)",
    .differences =
        "gamma 1, lambda 0.95 and the biased variance are Ziegler's; the KL is off until kl_in_reward is set (Ziegler "
        "0.15, TRL 0.05, DeepSpeed-Chat 0.1, OpenRLHF 0.01). verl and OpenRLHF: lambda 1; verl, TRL and NeMo-RL: "
        "unbiased variance; DeepSpeed-Chat: no whitening, rewards cut at 5; verl: dual_clip 3; NeMo-RL: clip_high "
        "0.28, dual_clip 10, and VAPO's length_adaptive 0.05 with lambda 1 for the critic. A tool's tokens are not in "
        "the columns: V_{t+1} is that of the next sampled token (verl, NeMo-RL), not 0 (OpenRLHF). The KL in the "
        "reward is of the policy that sampled, the peers' of the policy at the start of the step.",
    .columns = ppo_row::columns,
    .options = ppo_row::options,
    .by_advantage = true,
    .advantages = ppo_row::advantages,
    .returns = ppo_row::returns,
    .losses = clipped_losses,
};

} // namespace millrace::algorithms
