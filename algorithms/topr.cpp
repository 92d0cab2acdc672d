#include "algorithms/algorithm.hpp"
#include "algorithms/group_statistics.hpp"
#include "algorithms/surrogate.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace topr_row {

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    {.name = "baseline",
     .fallback = 0,
     .low = -1e9,
     .high = 1e9,
     .meaning = "comes off every reward; an answer with a larger reward is positive"},
    {.name = "centre",
     .fallback = 0,
     .low = 0,
     .high = 1,
     .meaning = "1: the group's mean reward comes off the reward too",
     .takes = range::whole},
    {.name = "positive_weight",
     .fallback = 1,
     .low = 0,
     .high = 1e9,
     .meaning = "weight of the loss of positive answers"},
    {.name = "negative_weight",
     .fallback = 1,
     .low = 0,
     .high = 1e9,
     .meaning = "weight of the loss of negative answers"},
    {.name = "cap", .fallback = 1, .low = 0, .high = 1e9, .meaning = "largest ratio of a negative answer"},
    {.name = "token_ratio",
     .fallback = 0,
     .low = 0,
     .high = 1,
     .meaning = "ratio of a negative answer. 0: the whole answer's; 1: each token's own",
     .takes = range::whole},
};

at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  at::Tensor a = step.reward.detach() - values.get("baseline");
  if (values.on("centre")) {
    const group_statistics s = statistics_by_group(a, step.group);
    a = (a - s.mean).masked_fill(s.equal, 0);
  }
  return spread_over_tokens(a, step.length);
}

at::Tensor losses(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const at::Tensor a = answers.advantage.detach(), logprob = answers.logprob.detach();
  const at::Tensor log_ratio = values.on("token_ratio") ? (logprob - answers.behaviour_logprob).clamp(-20, 20)
                                                        : answer_log_ratio(logprob, answers.behaviour_logprob,
                                                                           answers.length, answer_ratio::sum);
  const double cap = values.get("cap");
  const at::Tensor ratio = log_ratio.exp(), negative = a.le(0);
  found.truncated += at::logical_and(negative, ratio.gt(cap)).sum().item<std::int64_t>();
  const at::Tensor weight = at::where(negative, values.get("negative_weight") * ratio.clamp_max(cap),
                                      at::full_like(ratio, values.get("positive_weight")));
  return -weight * a * answers.logprob;
}

} // namespace topr_row

extern const algorithm topr;
const algorithm topr{
    .name = "topr",
    .source = "Le Roux et al. 2025, Tapered Off-Policy REINFORCE, arXiv:2503.14286, eq. 8",
    .summary =
        "positive answers as in supervised training, negative ones by a ratio of at most 1: stable however stale",
    .formula = "A = R - baseline;  rho = exp(sum over t of (logprob - behaviour)), detached\n"
               "A > 0: L = -positive_weight A logprob;  else: L = -negative_weight min(rho, cap) A logprob",
    .differences =
        "The ratio is of the whole answer against the policy that sampled it (paper); ROLL takes each token's "
        "(token_ratio 1). The paper's rewards are -1 and 1: rewards of 0 and 1 want baseline 0.5 or centre 1, or else "
        "wrong answers weigh nothing. It corrects by itself: no correction is wanted beside it.",
    .columns = topr_row::columns,
    .options = topr_row::options,
    .by_advantage = true,
    .corrects = true,
    .least_switch = "centre",
    .advantages = topr_row::advantages,
    .losses = topr_row::losses,
};

} // namespace millrace::algorithms
