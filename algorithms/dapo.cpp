#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_advantage.hpp"
#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace dapo_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    clip_low,
    with_fallback(clip_high, 0.28),
    dual_clip,
    normalise,
    group_eps,
    leave_one_out,
    {.name = "max_length",
     .fallback = 0,
     .low = 0,
     .high = 1e9,
     .meaning = "L_max, tokens: an answer of this length has the whole punishment; 0: no punishment"},
    {.name = "overlong_buffer",
     .fallback = 0,
     .low = 0,
     .high = 1e9,
     .meaning = "L_buf, tokens: the punishment grows over so many tokens before max_length; 0: it comes at once"},
    {.name = "overlong_factor",
     .fallback = 1,
     .low = 0,
     .high = 1e9,
     .meaning = "the whole punishment, in units of the reward"},
};

/// Soft overlong punishment: 0 up to L_max - L_buf tokens, -factor from L_max on, a line between. @returns [A]
at::Tensor punishment(const at::Tensor& length, const hyperparameter_values& values) {
  const double max_length = values.get("max_length"), buffer = values.get("overlong_buffer");
  const at::Tensor over = length.to(at::kDouble) - (max_length - buffer);
  const at::Tensor share = buffer > 0 ? (over / buffer).clamp(0, 1) : over.gt(0).to(at::kDouble);
  return share * -values.get("overlong_factor");
}

at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  at::Tensor reward = step.reward.detach();
  if (values.get("max_length") > 0)
    reward = reward + punishment(step.length, values).to(reward.device(), reward.scalar_type());
  return spread_over_tokens(group_advantages(reward, step.group, values), step.length);
}

} // namespace dapo_row

extern const algorithm dapo;
const algorithm dapo{
    .name = "dapo",
    .source = "Yu et al. 2025, DAPO, arXiv:2503.14476, section 3",
    .summary = "GRPO with a higher upper clip, a token mean and a soft punishment of overlong answers",
    .formula =
        "R_i <- R_i - overlong_factor * clip((T_i - (max_length - overlong_buffer)) / overlong_buffer, 0, 1)\n"
        "A_i = (R_i - mean(R)) / (std(R) + eps), std with n - 1; 0 where all rewards are equal, or for one answer\n"
        "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)",
    .differences =
        "The paper's lengths are 20480 and 4096; nothing is punished until max_length is set. Dynamic sampling (a "
        "group whose rewards are all equal is replaced) is the schedule's; here such a group gets 0. Beyond max_length "
        "the punishment stays at the factor (paper, OpenRLHF); verl and NeMo-RL let it grow. verl's recipe and NeMo-RL "
        "add dual_clip 10; OpenRLHF has clip_high 0.27 and a k3 term.",
    .columns = dapo_row::columns,
    .options = dapo_row::options,
    .by_advantage = true,
    .least_answers = 2,
    .advantages = dapo_row::advantages,
    .losses = clipped_losses,
};

} // namespace millrace::algorithms
