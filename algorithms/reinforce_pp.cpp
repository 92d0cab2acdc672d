#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace {

constexpr column_name columns[] = {"reward"};
constexpr option options[] = {clip_low, clip_high, dual_clip,
                              {"kl_in_reward", 0, 0, 1e9, "coefficient of k1 = behaviour - reference taken off each token's reward; above 0 needs ref_logprob"},
                              {"group_baseline", 0, 0, 1, "1: the group's mean reward is subtracted first (REINFORCE++-baseline)"},
                              {"eps", 1e-8, 1e-12, 1, "added to the batch variance"}};

/// Sum over the rest of each answer, its own token included.
at::Tensor return_to_go(const at::Tensor& per_token, const at::Tensor& length) {
  at::Tensor out = per_token.clone();
  std::int64_t begin = 0;
  const at::Tensor lengths = length.to(at::kCPU);
  for (std::int64_t i = 0; i < lengths.numel(); ++i) {
    const std::int64_t n = lengths[i].item<std::int64_t>();
    at::Tensor part = out.narrow(0, begin, n);
    part.copy_(part.flip(0).cumsum(0).flip(0));
    begin += n;
  }
  return out;
}

/// Return of each token, whitened over all tokens of the step:
///
///     G_t = R - kl_in_reward * sum_{s >= t} (behaviour_s - ref_s)      A_t = (G_t - mean(G)) / sqrt(var(G) + eps)
///
/// with the biased variance and no discount. A step whose returns are all equal gets 0 everywhere; with
/// `group_baseline`, R is R - mean of its group.
at::Tensor advantages(const step_columns& step, const option_values& values) {
  at::Tensor reward = step.reward.detach();
  if (values.on("group_baseline")) {
    const group_statistics s = statistics_by_group(step.reward, step.group);
    reward = (reward - s.mean).masked_fill(s.equal, 0);
  }
  at::Tensor g = spread_over_tokens(reward, step.length);
  if (g.numel() == 0)
    return g;
  if (const double coefficient = values.get("kl_in_reward"); coefficient > 0) {
    TORCH_CHECK(step.ref_logprob.defined(), "ref_logprob: missing, and kl_in_reward needs it");
    g = g - coefficient * return_to_go((step.behaviour_logprob - step.ref_logprob).to(g.scalar_type()), step.length);
  }
  if (g.max().equal(g.min()))
    return at::zeros_like(g);
  return (g - g.mean()) / (g.var(0, false) + values.get("eps")).sqrt();
}

} // namespace

extern const algorithm reinforce_pp;
const algorithm reinforce_pp{
    .name = "reinforce_pp",
    .source = "Hu et al. 2025, REINFORCE++, arXiv:2501.03262, section 3",
    .summary = "reward whitened over the tokens of the whole step; clipped surrogate",
    .formula = "G_t = R - kl_in_reward * sum over s >= t of (behaviour_s - ref_s);  A_t = (G_t - mean(G)) / sqrt(var(G) + eps), over the step\n"
                "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)",
    .differences = "Biased variance and return to go over the KL as in OpenRLHF; verl divides by the unbiased deviation; NeMo-RL takes each "
                "token's own KL only.",
    .columns = columns,
    .options = options,
    .advantages = advantages,
    .losses = clipped_losses};

} // namespace millrace::algorithms
