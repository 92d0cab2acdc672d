#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace {

constexpr column_name columns[] = {"reward"};
constexpr option options[] = {clip_low, clip_high, dual_clip};

/// Reward minus the mean of the other answers to the prompt; every token of an answer has its answer's:
///
///     A_i = R_i - sum_{j != i} R_j / (n - 1) = n / (n - 1) (R_i - mean(R))
///
/// A group whose rewards are all equal, or of one answer, gets 0.
at::Tensor advantages(const step_columns& step, const option_values&) {
  const group_statistics s = statistics_by_group(step.reward, step.group);
  const at::Tensor a = (step.reward.detach() - s.mean) * s.size / (s.size - 1).clamp_min(1);
  return spread_over_tokens(a.masked_fill(s.equal, 0), step.length);
}

} // namespace

extern const algorithm rloo;
const algorithm rloo{
    .name = "rloo",
    .source = "Ahmadian et al. 2024, Back to Basics, arXiv:2402.14740, section 3.2; Kool et al. 2019",
    .summary = "reward minus the mean of the prompt's other answers; policy gradient",
    .formula = "A_i = R_i - sum over j != i of R_j / (n - 1);  0 where all rewards are equal, or for one answer\n"
                "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)",
    .differences = "KL is a term of the loss, not of the reward (TRL, OpenRLHF); the clip bounds further updates on the same batch. TRL clips "
                "the ratio of the whole answer.",
    .columns = columns,
    .options = options,
    .advantages = advantages,
    .losses = clipped_losses};

} // namespace millrace::algorithms
