#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_statistics.hpp"
#include "algorithms/token_rewards.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace {

constexpr column_name columns[] = {"reward"};
constexpr option options[] = {clip_low, clip_high, dual_clip,
                              {"ratio", 1, 0, 2, "0: no ratio, L = -A logprob; clipped ratio of, 1: the token, 2: the whole answer"},
                              {"normalise", 0, 0, 1, "1: advantages of the step are whitened, by their standard deviation with n - 1"},
                              {"eps", 1e-4, 0, 1, "added to that deviation"},
                              reward_clip, kl_in_reward, kl_in_reward_estimator, kl_in_reward_form(kl_form::answer)};

at::Tensor advantages(const step_columns& step, const option_values& values) {
  const at::Tensor reward = shaped_reward(step, values);
  const group_statistics s = statistics_by_group(reward, step.group);
  at::Tensor a = ((reward - s.mean) * s.size / (s.size - 1).clamp_min(1)).masked_fill(s.equal, 0);
  if (values.on("normalise") && a.numel() > 1)
    a = (a - a.mean()) / (a.std(0, true) + values.get("eps"));
  return charge_tokens(a, step, values);
}

at::Tensor losses(const answer_columns& answers, const option_values& values, diagnostics& found) {
  if (values.get("ratio") == 0)
    return -answers.advantage.detach() * answers.logprob;
  if (values.get("ratio") == 1)
    return clipped_losses(answers, values, found);
  return clipped_surrogate_at(answer_log_ratio(answers.logprob, answers.old_logprob, answers.length, false).exp(), answers.advantage,
                              values.get("clip_low"), values.get("clip_high"), values.get("dual_clip"), found);
}

} // namespace

extern const algorithm rloo;
const algorithm rloo{
    .name = "rloo",
    .source = "Ahmadian et al. 2024, Back to Basics, arXiv:2402.14740, section 3.2; Kool et al. 2019",
    .summary = "reward minus the mean of the prompt's other answers; policy gradient",
    .formula = "R_i <- R_i - kl_in_reward * sum over t of KL_t\n"
               "A_i = R_i - sum over j != i of R_j / (n - 1);  0 where all rewards are equal, or for one answer\n"
               "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)",
    .differences = "The paper has no ratio (ratio 0, also NeMo-RL); a clipped one (verl, OpenRLHF) bounds further updates on the same batch. TRL clips the "
                   "ratio of the whole answer, the product over its tokens: ratio 2 with aggregation sequence_mean. KL in the reward comes off the "
                   "answer before the baseline (paper, verl, TRL: 0.05); OpenRLHF charges tokens after it: kl_in_reward_form 1. verl leaves a group "
                   "of one its reward; here it gets 0, as in TRL.",
    .columns = columns,
    .options = options,
    .advantages = advantages,
    .losses = losses};

} // namespace millrace::algorithms
