#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/token_rewards.hpp"
#include "algorithms/whitening.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace reinforce_pp_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    clip_low,
    clip_high,
    dual_clip,
    {.name = "gamma",
     .fallback = 1,
     .low = 0,
     .high = 1,
     .meaning = "discount of a token's reward for each token before it"},
    whitening_option(whitening::biased),
    whitening_eps,
    reward_clip,
    kl_in_reward,
    kl_in_reward_estimator,
    kl_in_reward_form(kl_form::to_go),
};

at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  return whiten(charge_tokens(shaped_reward(step, values), step, values, values.get("gamma")), values);
}

} // namespace reinforce_pp_row

extern const algorithm reinforce_pp;
const algorithm reinforce_pp{
    .name = "reinforce_pp",
    .source = "Hu et al. 2025, REINFORCE++, arXiv:2501.03262, section 3",
    .summary = "reward whitened over the tokens of the whole step; clipped surrogate",
    .formula = "G_t = gamma^(T - t) R - kl_in_reward * sum over s >= t of gamma^(s - t) KL_s\n"
               "A_t = (G_t - mean(G)) / sqrt(var(G) + eps), over the step;  0 where all are equal\n"
               "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)",
    .differences =
        "With KL in the reward the name stands for three algorithms: return to go over the KL with the biased variance "
        "(OpenRLHF, here) or the unbiased one (verl: whitening 2), each token's own KL only (NeMo-RL: "
        "kl_in_reward_form 2). OpenRLHF and NeMo-RL bound the variance from below by 1e-8, verl adds it, as here. A "
        "tool's tokens are not in the columns: gamma discounts over sampled tokens only, where OpenRLHF's return also "
        "discounts over masked ones.",
    .columns = reinforce_pp_row::columns,
    .options = reinforce_pp_row::options,
    .by_advantage = true,
    .advantages = reinforce_pp_row::advantages,
    .losses = clipped_losses,
};

} // namespace millrace::algorithms
