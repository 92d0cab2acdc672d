#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace {

constexpr column_name columns[] = {"reward"};
constexpr option options[] = {clip_low, clip_high, dual_clip,
                              {"normalise", 1, 0, 1, "1: divide by the group's standard deviation; 0: Dr. GRPO's advantage"},
                              {"eps", 1e-6, 1e-12, 1, "added to the standard deviation"}};

/// Group-relative advantages; every token of an answer has its answer's:
///
///     A_i = (R_i - mean(R)) / (std(R) + eps),  std with n - 1
///
/// A group whose rewards are all equal, or of one answer, gets 0 (verl gives a group of one R / (1 + eps)).
at::Tensor advantages(const step_columns& step, const option_values& values) {
  const group_statistics s = statistics_by_group(step.reward, step.group);
  at::Tensor a = step.reward.detach() - s.mean;
  if (values.on("normalise"))
    a = a / (s.deviation + values.get("eps"));
  return spread_over_tokens(a.masked_fill(s.equal, 0), step.length);
}

} // namespace

extern const algorithm grpo;
const algorithm grpo{
    .name = "grpo",
    .source = "Shao et al. 2024, DeepSeekMath, arXiv:2402.03300, section 4.1",
    .summary = "reward minus the group's mean, over its standard deviation; clipped surrogate",
    .formula = "A_i = (R_i - mean(R)) / (std(R) + eps), std with n - 1; 0 where all rewards are equal, or for one answer\n"
                "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)",
    .differences = "The KL term and the aggregation are options of every algorithm, the token mean (DAPO) by default. verl gives a group of "
                "one R / (1 + eps); TRL adds 1e-4 to the deviation; NeMo-RL leaves the answer itself out of mean and deviation.",
    .columns = columns,
    .options = options,
    .advantages = advantages,
    .losses = clipped_losses};

} // namespace millrace::algorithms
