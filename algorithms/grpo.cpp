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

/// Token loss: clipped surrogate (surrogate.hpp). Differs from the paper in: the KL term and the aggregation are options
/// of every algorithm, the token mean (DAPO) by default.
extern const algorithm grpo;
const algorithm grpo{"grpo",
                     "Shao et al. 2024, DeepSeekMath, arXiv:2402.03300, section 4.1",
                     "reward minus the group's mean, over its standard deviation; clipped surrogate",
                     columns,
                     options,
                     advantages,
                     clipped_token_loss};

} // namespace millrace::algorithms
