#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_advantage.hpp"
#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace {

constexpr column_name columns[] = {"reward"};
constexpr option low{"clip_low", 3e-4, clip_low.low, clip_low.high, clip_low.meaning};
constexpr option high{"clip_high", 4e-4, clip_high.low, clip_high.high, clip_high.meaning};
constexpr option options[] = {low, high, dual_clip, normalise, group_eps, leave_one_out,
                              {"token_form", 0, 0, 1, "1: the ratio's gradient through the token alone, s_t = sg(s) exp(logprob - sg logprob)"}};

at::Tensor advantages(const step_columns& step, const option_values& values) {
  return spread_over_tokens(group_advantages(step.reward, step.group, values), step.length);
}

at::Tensor losses(const answer_columns& answers, const option_values& values, diagnostics& found) {
  at::Tensor log_ratio = answer_log_ratio(answers.logprob, answers.old_logprob, answers.length, true);
  if (values.on("token_form"))
    log_ratio = log_ratio.detach() + answers.logprob - answers.logprob.detach();
  return clipped_surrogate_at(log_ratio.exp(), answers.advantage, values.get("clip_low"), values.get("clip_high"),
                              values.get("dual_clip"), found);
}

} // namespace

extern const algorithm gspo;
const algorithm gspo{
    .name = "gspo",
    .source = "Zheng et al. 2025, GSPO, arXiv:2507.18071, sections 4.1 and 4.3",
    .summary = "GRPO's advantage, clipped ratio of the whole answer: the geometric mean of its tokens'",
    .formula = "A_i = (R_i - mean(R)) / (std(R) + eps), std with n - 1; 0 where all rewards are equal, or for one answer\n"
               "s = exp(mean over t of (logprob - old));  L = -min(s A, clip(s, 1 - clip_low, 1 + clip_high) A), mean over answers",
    .differences = "Clips are the paper's; OpenRLHF and a recipe of NeMo-RL keep 0.2. TRL and OpenRLHF differentiate s itself, as here; verl's token form "
                   "(token_form 1) gives every token sg(s) and its own gradient: with aggregation sequence_mean and one advantage an answer the two "
                   "gradients are the same. The exponent is clamped to [-20, 20] (verl: to at most 10).",
    .columns = columns,
    .options = options,
    .how = aggregation::sequence_mean,
    .advantages = advantages,
    .losses = losses};

} // namespace millrace::algorithms
