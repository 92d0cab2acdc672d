#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_advantage.hpp"
#include "algorithms/token_rewards.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace dr_grpo_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    clip_low,      clip_high,   dual_clip,    with_fallback(normalise, 0), group_eps,
    leave_one_out, reward_clip, kl_in_reward, kl_in_reward_estimator,      kl_in_reward_form(kl_form::answer),
};

at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  return charge_tokens(group_advantages(shaped_reward(step, values), step.group, values), step, values);
}

} // namespace dr_grpo_row

extern const algorithm dr_grpo;
const algorithm dr_grpo{
    .name = "dr_grpo",
    .source = "Liu et al. 2025, Understanding R1-Zero-like training, arXiv:2503.20783, section 3",
    .summary = "reward minus the group's mean, losses over a fixed length: no bias to short answers or easy prompts",
    .formula = "A_i = R_i - mean(R);  0 where all rewards are equal, or for one answer\n"
               "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)\n"
               "loss = sum of L / (answers * loss.fixed_length)",
    .differences = "The divisor is loss.fixed_length, as in TRL (max_completion_length) and verl (loss_scale_factor; "
                   "without it verl takes the padded width, which varies). OpenRLHF has the advantage only, with a "
                   "token mean; NeMo-RL the advantage only, leave_one_out.",
    .columns = dr_grpo_row::columns,
    .options = dr_grpo_row::options,
    .how = aggregation::fixed_length,
    .by_advantage = true,
    .least_answers = 2,
    .advantages = dr_grpo_row::advantages,
    .losses = clipped_losses,
};

} // namespace millrace::algorithms
