#include "algorithms/algorithm.hpp"
#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace sft_row {

at::Tensor advantages(const step_columns& step, const hyperparameter_values&) {
  return at::ones({step.length.sum().item<std::int64_t>()}, step.reward.options());
}

at::Tensor losses(const answer_columns& answers, const hyperparameter_values&, diagnostics&) {
  return -answers.logprob;
}

} // namespace sft_row

extern const algorithm sft;
const algorithm sft{
    .name = "sft",
    .source = "Ouyang et al. 2022, InstructGPT, arXiv:2203.02155, section 3.5",
    .summary = "supervised: cross-entropy of the answers' tokens",
    .formula = "L = -logprob, of the tokens of the answers only",
    .differences = "Prompts are never trained on. The mean is over the step's answer tokens, however it is cut into "
                   "micro-batches.",
    .columns = {},
    .options = {},
    .corrects = true,
    .advantages = sft_row::advantages,
    .losses = sft_row::losses,
};

} // namespace millrace::algorithms
