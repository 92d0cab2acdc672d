#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_statistics.hpp"
#include "algorithms/token_rewards.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace remax_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward", "baseline"};
constexpr hyperparameter options[] = {
    clip_low,
    clip_high,
    dual_clip,
    {.name = "ratio",
     .fallback = 1,
     .low = 0,
     .high = 1,
     .meaning = "0: no ratio, L = -A logprob; 1: each token's clipped ratio",
     .takes = range::whole},
    reward_clip,
    kl_in_reward,
    kl_in_reward_estimator,
    kl_in_reward_form(kl_form::to_go),
};

at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  TORCH_CHECK(step.baseline.defined(), "baseline: missing, and remax needs it");
  return charge_tokens(shaped_reward(step, values) - step.baseline.detach().to(step.reward.scalar_type()), step,
                       values);
}

at::Tensor losses(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  return values.on("ratio") ? clipped_losses(answers, values, found) : -answers.advantage.detach() * answers.logprob;
}

} // namespace remax_row

extern const algorithm remax;
const algorithm remax{
    .name = "remax",
    .source = "Li et al. 2023, ReMax, arXiv:2310.10505, algorithm 2",
    .summary = "reward minus the reward of the greedy answer to the same prompt",
    .formula = "A_t = R - b - kl_in_reward * sum over s >= t of KL_s,  b: reward of the greedy answer\n"
               "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)",
    .differences = "The paper has no ratio (ratio 0) and one answer a prompt; verl clips the ratio, as here. The "
                   "baseline is not cut by reward_clip and pays no KL.",
    .columns = remax_row::columns,
    .options = remax_row::options,
    .by_advantage = true,
    .advantages = remax_row::advantages,
    .losses = remax_row::losses,
};

} // namespace millrace::algorithms
