#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_statistics.hpp"
#include "algorithms/token_rewards.hpp"
#include "algorithms/whitening.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace reinforce_pp_baseline_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    clip_low,
    clip_high,
    dual_clip,
    whitening_option(whitening::biased),
    whitening_eps,
    reward_clip,
    kl_in_reward,
    kl_in_reward_estimator,
    kl_in_reward_form(kl_form::to_go),
};

at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  const at::Tensor reward = shaped_reward(step, values);
  const group_statistics s = statistics_by_group(reward, step.group);
  return whiten(charge_tokens((reward - s.mean).masked_fill(s.equal, 0), step, values), values);
}

} // namespace reinforce_pp_baseline_row

extern const algorithm reinforce_pp_baseline;
const algorithm reinforce_pp_baseline{
    .name = "reinforce_pp_baseline",
    .source = "Hu et al. 2025, REINFORCE++, arXiv:2501.03262, section 3 (baseline variant)",
    .summary = "reward minus the group's mean, whitened over the tokens of the whole step; clipped surrogate",
    .formula = "G_t = R_i - mean(R) - kl_in_reward * sum over s >= t of KL_s;  A_t = (G_t - mean(G)) / sqrt(var(G) + "
               "eps), over the step\n"
               "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)",
    .differences = "Biased variance and return to go over the KL as in OpenRLHF; verl takes the answer's whole KL off "
                   "its reward before the baseline (kl_in_reward_form 0) and the unbiased variance (whitening 2), and "
                   "leaves a group of one its reward; NeMo-RL takes each token's own KL (form 2). A group of equal "
                   "rewards is not 0 after whitening unless the step's mean is.",
    .columns = reinforce_pp_baseline_row::columns,
    .options = reinforce_pp_baseline_row::options,
    .by_advantage = true,
    .least_answers = 2,
    .advantages = reinforce_pp_baseline_row::advantages,
    .losses = clipped_losses,
};

} // namespace millrace::algorithms
