#include "algorithms/algorithm.hpp"
#include "algorithms/group_advantage.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace cispo_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    {.name = "clip_low",
     .fallback = 1,
     .low = 0,
     .high = 1e9,
     .meaning = "the weight is at least 1 - clip_low; from 1 on: no floor"},
    {.name = "clip_high", .fallback = 4, .low = 0, .high = 1e9, .meaning = "the weight is at most 1 + clip_high"},
    normalise,
    group_eps,
    leave_one_out,
};

at::Tensor losses(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const at::Tensor ratio = (answers.logprob - answers.old_logprob).detach().clamp(-20, 20).exp();
  const at::Tensor weight = ratio.clamp(1 - values.get("clip_low"), 1 + values.get("clip_high"));
  found.count_clipped(weight.ne(ratio));
  return -weight * answers.advantage.detach() * answers.logprob;
}

} // namespace cispo_row

extern const algorithm cispo;
const algorithm cispo{
    .name = "cispo",
    .source = "MiniMax 2025, MiniMax-M1, arXiv:2506.13585, section 3.1",
    .summary = "GRPO's advantage; the clipped ratio is a weight, so that no token loses its gradient",
    .formula =
        "A_i = (R_i - mean(R)) / (std(R) + eps), std with n - 1; 0 where all rewards are equal, or for one answer\n"
        "L = -sg(clip(exp(logprob - old), 1 - clip_low, 1 + clip_high)) A logprob",
    .differences = "The paper tunes the upper clip only and gives no value; 4 is what TRL recommends as the absolute "
                   "cap epsilon_high = 5. verl and NeMo-RL clip on both sides (verl's example: clip_low 10, clip_high "
                   "0.2). A token that the weight met is counted as clipped.",
    .columns = cispo_row::columns,
    .options = cispo_row::options,
    .by_advantage = true,
    .least_answers = 2,
    .advantages = group_advantages_at_tokens,
    .losses = cispo_row::losses,
};

} // namespace millrace::algorithms
