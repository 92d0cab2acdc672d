#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_statistics.hpp"
#include "algorithms/token_rewards.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace rloo_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    clip_low,
    clip_high,
    dual_clip,
    {.name = "ratio",
     .fallback = 1,
     .low = 0,
     .high = 2,
     .meaning = "0: no ratio, L = -A logprob; 1: each token's clipped ratio; 2: the answer's",
     .takes = range::whole},
    {.name = "normalise",
     .fallback = 0,
     .low = 0,
     .high = 1,
     .meaning = "1: advantages are whitened over the step's answers, by the standard deviation with n - 1",
     .takes = range::whole},
    {.name = "eps", .fallback = 1e-4, .low = 0, .high = 1, .meaning = "added to the standard deviation of normalise"},
    reward_clip,
    kl_in_reward,
    kl_in_reward_estimator,
    kl_in_reward_form(kl_form::answer),
};

at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  const at::Tensor reward = shaped_reward(step, values);
  const group_statistics s = statistics_by_group(reward, step.group);
  at::Tensor a = ((reward - s.mean) * s.size / (s.size - 1).clamp_min(1)).masked_fill(s.equal, 0);
  if (values.on("normalise") && a.numel() > 1)
    a = (a - a.mean()) / (a.std(0, /*unbiased=*/true) + values.get("eps"));
  return charge_tokens(a, step, values);
}

at::Tensor losses(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  if (values.get("ratio") == 0)
    return -answers.advantage.detach() * answers.logprob;
  if (values.get("ratio") == 1)
    return clipped_losses(answers, values, found);
  return clipped_surrogate_at(
      answer_log_ratio(answers.logprob, answers.old_logprob, answers.length, answer_ratio::sum).exp(),
      answers.advantage, values.get("clip_low"), values.get("clip_high"), values.get("dual_clip"), found);
}

} // namespace rloo_row

extern const algorithm rloo;
const algorithm rloo{
    .name = "rloo",
    .source = "Ahmadian et al. 2024, Back to Basics, arXiv:2402.14740, section 3.2; Kool et al. 2019",
    .summary = "reward minus the mean of the prompt's other answers; policy gradient",
    .formula = "R_i <- R_i - kl_in_reward * sum over t of KL_t\n"
               "A_i = R_i - sum over j != i of R_j / (n - 1);  0 where all rewards are equal, or for one answer\n"
               "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)",
    .differences = "The paper has no ratio (ratio 0, also NeMo-RL); a clipped one (verl, OpenRLHF) bounds further "
                   "updates on the same batch. TRL clips the ratio of the whole answer, the product over its tokens: "
                   "ratio 2 with aggregation sequence_mean. KL in the reward comes off the answer before the baseline "
                   "(paper, verl, TRL: 0.05); OpenRLHF charges tokens after it: kl_in_reward_form 1. verl leaves a "
                   "group of one its reward; here it gets 0, as in TRL.",
    .columns = rloo_row::columns,
    .options = rloo_row::options,
    .by_advantage = true,
    .least_answers = 2,
    .advantages = rloo_row::advantages,
    .losses = rloo_row::losses,
};

} // namespace millrace::algorithms
