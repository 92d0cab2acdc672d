#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_advantage.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace gspo_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    with_fallback(clip_low, 3e-4),
    with_fallback(clip_high, 4e-4),
    dual_clip,
    normalise,
    group_eps,
    leave_one_out,
    {.name = "token_form",
     .fallback = 0,
     .low = 0,
     .high = 1,
     .meaning = "1: each token's ratio has its own gradient only, s_t = sg(s) exp(logprob - sg logprob)",
     .takes = range::whole},
};

at::Tensor losses(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  at::Tensor log_ratio = answer_log_ratio(answers.logprob, answers.old_logprob, answers.length, answer_ratio::mean);
  if (values.on("token_form"))
    log_ratio = log_ratio.detach() + answers.logprob - answers.logprob.detach();
  return clipped_surrogate_at(log_ratio.exp(), answers.advantage, values.get("clip_low"), values.get("clip_high"),
                              values.get("dual_clip"), found);
}

} // namespace gspo_row

extern const algorithm gspo;
const algorithm gspo{
    .name = "gspo",
    .source = "Zheng et al. 2025, GSPO, arXiv:2507.18071, sections 4.1 and 4.3",
    .summary = "GRPO's advantage, clipped ratio of the whole answer: the geometric mean of its tokens'",
    .formula =
        "A_i = (R_i - mean(R)) / (std(R) + eps), std with n - 1; 0 where all rewards are equal, or for one answer\n"
        "s = exp(mean over t of (logprob - old));  L = -min(s A, clip(s, 1 - clip_low, 1 + clip_high) A), mean over "
        "answers",
    .differences = "Clips are the paper's; OpenRLHF and a recipe of NeMo-RL keep 0.2. TRL and OpenRLHF differentiate s "
                   "itself, as here; verl's token form (token_form 1) gives every token sg(s) and its own gradient: "
                   "with aggregation sequence_mean and one advantage an answer the two gradients are the same. The "
                   "mean over answers is the paper's and TRL's; AReaL takes the token mean, and verl 0.9.1 what its "
                   "loss_agg_mode says (older versions forced the mean over answers): aggregation token_mean. The "
                   "exponent is clamped to [-20, 20] (verl: to at most 10).",
    .columns = gspo_row::columns,
    .options = gspo_row::options,
    .how = aggregation::sequence_mean,
    .by_advantage = true,
    .least_answers = 2,
    .advantages = group_advantages_at_tokens,
    .losses = gspo_row::losses,
};

} // namespace millrace::algorithms
