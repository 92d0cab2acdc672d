#include "algorithms/algorithm.hpp"
#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace raft_row {

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    {.name = "best_of_group",
     .fallback = 1,
     .low = 0,
     .high = 1,
     .meaning = "1: keep the best answers of each group (several where they tie); 0: keep every answer",
     .takes = range::whole},
    {.name = "threshold",
     .fallback = 0,
     .low = -1e9,
     .high = 1e9,
     .meaning = "of these, keep the answers with a larger reward than this"},
    {.name = "over_kept",
     .fallback = 1,
     .low = 0,
     .high = 1,
     .meaning = "1: the token mean is over the kept answers' tokens; 0: over all tokens of the step",
     .takes = range::whole},
};

/// 1 for each answer that is kept, else 0. @returns [A]
at::Tensor kept(const step_columns& step, const hyperparameter_values& values) {
  const at::Tensor reward = step.reward.detach();
  at::Tensor keep = reward.gt(values.get("threshold"));
  if (values.on("best_of_group") && reward.numel() > 0) {
    const std::int64_t groups = step.group.max().item<std::int64_t>() + 1;
    const at::Tensor best =
        at::zeros({groups}, reward.options()).scatter_reduce(0, step.group, reward, "amax", /*include_self=*/false);
    keep = at::logical_and(keep, reward.eq(best.index_select(0, step.group)));
  }
  return keep.to(reward.scalar_type());
}

at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  const at::Tensor a = spread_over_tokens(kept(step, values), step.length);
  const double tokens = a.sum().item<double>();
  return values.on("over_kept") && tokens > 0 ? a * (static_cast<double>(a.numel()) / tokens) : a;
}

at::Tensor losses(const answer_columns& answers, const hyperparameter_values&, diagnostics&) {
  return -answers.advantage.detach() * answers.logprob;
}

} // namespace raft_row

extern const algorithm raft;
const algorithm raft{
    .name = "raft",
    .source = "Dong et al. 2023, RAFT, arXiv:2304.06767, algorithm 1; rejection sampling: DeepSeek-R1, "
              "arXiv:2501.12948, section 2.3",
    .summary = "supervised on the answers that a reward keeps: rejection sampling into SFT",
    .formula = "L = -w logprob,  w = tokens of the step / tokens kept for the answers kept, else 0",
    .differences = "With w the token mean is that of supervised training on the kept answers alone; with over_kept 0, "
                   "w is 1 and a step with few good answers is a small step. A step that keeps nothing trains nothing.",
    .columns = raft_row::columns,
    .options = raft_row::options,
    .by_advantage = true,
    .corrects = true,
    .advantages = raft_row::advantages,
    .losses = raft_row::losses,
};

} // namespace millrace::algorithms
