#include "algorithms/algorithm.hpp"
#include "algorithms/group_advantage.hpp"
#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace gmpo_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    {.name = "clip_low",
     .fallback = 0.4,
     .low = 0,
     .high = 20,
     .meaning = "a token's log-ratio is cut below -clip_low"},
    {.name = "clip_high",
     .fallback = 0.4,
     .low = 0,
     .high = 20,
     .meaning = "a token's log-ratio is cut above clip_high"},
    normalise,
    group_eps,
    leave_one_out,
};

at::Tensor losses(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const at::Tensor a = answers.advantage.detach();
  const at::Tensor free = (answers.logprob - answers.old_logprob.detach()).clamp(-20, 20);
  const at::Tensor bound = free.clamp(-values.get("clip_low"), values.get("clip_high"));
  const at::Tensor kept = at::where(a.gt(0), at::minimum(free, bound), at::maximum(free, bound));
  found.count_clipped(at::logical_and(kept.ne(free), a.ne(0)));
  return -spread_over_tokens(mean_by_answer(kept, answers.length).exp(), answers.length) * a;
}

} // namespace gmpo_row

extern const algorithm gmpo;
const algorithm gmpo{
    .name = "gmpo",
    .source = "Zhao et al. 2025, Geometric-Mean Policy Optimization, arXiv:2507.20673",
    .summary = "GRPO's advantage; geometric mean of the tokens' clipped ratios",
    .formula =
        "A_i = (R_i - mean(R)) / (std(R) + eps), std with n - 1; 0 where all rewards are equal, or for one answer\n"
        "d_t = logprob - old;  A > 0: d_t <- min(d_t, clip_high), else max(d_t, -clip_low);  L = -exp(mean over t of "
        "d_t) A, mean over answers",
    .differences = "Clips are the paper's e^-0.4 and e^0.4 (TRL too); verl takes its clip_ratio. verl and TRL count "
                   "empty answers in the mean, here they are not in it.",
    .columns = gmpo_row::columns,
    .options = gmpo_row::options,
    .how = aggregation::sequence_mean,
    .by_advantage = true,
    .least_answers = 2,
    .advantages = group_advantages_at_tokens,
    .losses = gmpo_row::losses,
};

} // namespace millrace::algorithms
