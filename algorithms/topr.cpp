#include "algorithms/algorithm.hpp"
#include "algorithms/group_statistics.hpp"
#include "algorithms/surrogate.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace {

constexpr column_name columns[] = {"reward"};
constexpr option options[] = {{"baseline", 0, -1e9, 1e9, "taken off every reward; answers above it are positive"},
                              {"centre", 0, 0, 1, "1: the group's mean is taken off too"},
                              {"positive_weight", 1, 0, 1e9, "of the loss of positive answers"},
                              {"negative_weight", 1, 0, 1e9, "of the loss of the others"},
                              {"cap", 1, 0, 1e9, "largest ratio of a negative answer"},
                              {"token_ratio", 0, 0, 1, "ratio of, 0: the whole answer, 1: each token"}};

at::Tensor advantages(const step_columns& step, const option_values& values) {
  at::Tensor a = step.reward.detach() - values.get("baseline");
  if (values.on("centre")) {
    const group_statistics s = statistics_by_group(a, step.group);
    a = (a - s.mean).masked_fill(s.equal, 0);
  }
  return spread_over_tokens(a, step.length);
}

at::Tensor losses(const answer_columns& answers, const option_values& values, diagnostics& found) {
  const at::Tensor a = answers.advantage.detach(), logprob = answers.logprob.detach();
  const at::Tensor log_ratio = values.on("token_ratio") ? (logprob - answers.behaviour_logprob).clamp(-20, 20)
                                                        : answer_log_ratio(logprob, answers.behaviour_logprob, answers.length, false);
  const double cap = values.get("cap");
  const at::Tensor ratio = log_ratio.exp(), negative = a.le(0);
  found.truncated += at::logical_and(negative, ratio.gt(cap)).sum().item<std::int64_t>();
  const at::Tensor weight = at::where(negative, values.get("negative_weight") * ratio.clamp_max(cap),
                                      at::full_like(ratio, values.get("positive_weight")));
  return -weight * a * answers.logprob;
}

} // namespace

extern const algorithm topr;
const algorithm topr{
    .name = "topr",
    .source = "Le Roux et al. 2025, Tapered Off-Policy REINFORCE, arXiv:2503.14286, eq. 8",
    .summary = "positive answers as in supervised training, negative ones by a ratio of at most 1: stable however stale",
    .formula = "A = R - baseline;  rho = exp(sum over t of (logprob - behaviour)), detached\n"
               "A > 0: L = -positive_weight A logprob;  else: L = -negative_weight min(rho, cap) A logprob",
    .differences = "The ratio is of the whole answer against the policy that sampled it (paper); ROLL takes each token's (token_ratio 1). The paper's rewards "
                   "are -1 and 1: rewards of 0 and 1 want baseline 0.5 or centre 1, or else wrong answers weigh nothing. It corrects by itself: no "
                   "correction is wanted beside it.",
    .columns = columns,
    .options = options,
    .corrects = true,
    .advantages = advantages,
    .losses = losses};

} // namespace millrace::algorithms
