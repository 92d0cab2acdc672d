#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_advantage.hpp"
#include "algorithms/group_statistics.hpp"
#include "algorithms/token_rewards.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace grpo_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    clip_low,
    clip_high,
    dual_clip,
    normalise,
    group_eps,
    leave_one_out,
    {.name = "advantage_clip",
     .fallback = 0,
     .low = 0,
     .high = 1e9,
     .meaning = "advantages are cut to [-advantage_clip, advantage_clip] before the KL; 0: no cut"},
    {.name = "keep_lone",
     .fallback = 0,
     .low = 0,
     .high = 1,
     .meaning = "advantage of an answer alone in its group. 1: its reward; 0: nothing",
     .takes = range::whole},
    reward_clip,
    kl_in_reward,
    kl_in_reward_estimator,
    kl_in_reward_form(kl_form::answer),
};

at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  const at::Tensor reward = shaped_reward(step, values);
  at::Tensor a = group_advantages(reward, step.group, values);
  if (values.on("keep_lone"))
    a = at::where(statistics_by_group(reward, step.group).size.eq(1), reward / (1 + values.get("eps")), a);
  if (const double clip = values.get("advantage_clip"); clip > 0)
    a = a.clamp(-clip, clip);
  return charge_tokens(a, step, values);
}

} // namespace grpo_row

extern const algorithm grpo;
const algorithm grpo{
    .name = "grpo",
    .source = "Shao et al. 2024, DeepSeekMath, arXiv:2402.03300, section 4.1",
    .summary = "reward minus the group's mean, over its standard deviation; clipped surrogate",
    .formula =
        "A_i = (R_i - mean(R)) / (std(R) + eps), std with n - 1; 0 where all rewards are equal, or for one answer\n"
        "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)",
    .differences = "The KL term and the aggregation are options of every algorithm, the token mean (DAPO) by default, "
                   "where the paper has the mean of answers' means (aggregation sequence_mean) and a k3 term of 0.04. "
                   "eps is verl's; TRL 1e-4, and normalise 2 is its scale_rewards = \"batch\"; OpenRLHF eps 1e-9, "
                   "advantage_clip 10 and kl_in_reward 0.01 with form 1; NeMo-RL leave_one_out. verl gives a group of "
                   "one its reward: keep_lone; it also has dual_clip 3, which TRL calls delta.",
    .columns = grpo_row::columns,
    .options = grpo_row::options,
    .by_advantage = true,
    .least_answers = 2,
    .least_switch = "keep_lone",
    .advantages = grpo_row::advantages,
    .losses = clipped_losses,
};

} // namespace millrace::algorithms
