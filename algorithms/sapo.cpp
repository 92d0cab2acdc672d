#include "algorithms/algorithm.hpp"
#include "algorithms/group_advantage.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace sapo_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    {.name = "tau_positive",
     .fallback = 1,
     .low = 1e-6,
     .high = 1e6,
     .meaning = "steepness of the gate for positive advantages"},
    {.name = "tau_negative",
     .fallback = 1.05,
     .low = 1e-6,
     .high = 1e6,
     .meaning = "steepness of the gate for advantages of 0 or less"},
    normalise,
    group_eps,
    leave_one_out,
};

at::Tensor losses(const answer_columns& answers, const hyperparameter_values& values, diagnostics&) {
  const at::Tensor a = answers.advantage.detach();
  const at::Tensor ratio = (answers.logprob - answers.old_logprob.detach()).clamp(-20, 20).exp();
  const at::Tensor tau =
      at::where(a.gt(0), at::full_like(a, values.get("tau_positive")), at::full_like(a, values.get("tau_negative")));
  return -4 / tau * (tau * (ratio - 1)).sigmoid() * a;
}

} // namespace sapo_row

extern const algorithm sapo;
const algorithm sapo{
    .name = "sapo",
    .source = "Qwen team 2025, Soft Adaptive Policy Optimization, arXiv:2511.20347",
    .summary = "GRPO's advantage; a smooth gate of the ratio instead of a clip",
    .formula =
        "A_i = (R_i - mean(R)) / (std(R) + eps), std with n - 1; 0 where all rewards are equal, or for one answer\n"
        "r = exp(logprob - old);  L = -(4 / tau) sigmoid(tau (r - 1)) A,  tau: tau_positive where A > 0, else "
        "tau_negative; mean over answers",
    .differences =
        "verl and TRL: the same. AReaL: the same losses, and the token mean of them: aggregation token_mean. "
        "At r = 1 the gradient is the plain policy gradient; the value is 2 "
        "/ tau times the advantage.",
    .columns = sapo_row::columns,
    .options = sapo_row::options,
    .how = aggregation::sequence_mean,
    .by_advantage = true,
    .least_answers = 2,
    .advantages = group_advantages_at_tokens,
    .losses = sapo_row::losses,
};

} // namespace millrace::algorithms
