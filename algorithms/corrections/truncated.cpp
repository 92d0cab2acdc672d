#include "algorithms/correction.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace {

constexpr option options[] = {{"cap", 2, 1e-6, 1e9, "largest weight of a token"}};

at::Tensor weight(const answer_columns& answers, const option_values& values, diagnostics& found) {
  TORCH_CHECK(answers.old_logprob.sizes() == answers.behaviour_logprob.sizes(), "behaviour_logprob: want ",
              answers.old_logprob.sizes(), ", got ", answers.behaviour_logprob.sizes());
  const double cap = values.get("cap");
  const at::Tensor w = (answers.old_logprob.detach() - answers.behaviour_logprob.detach()).clamp(-20, 20).exp().clamp_max(cap);
  found.truncated += w.ge(cap).sum().item<std::int64_t>();
  return w;
}

} // namespace

extern const correction truncated;
const correction truncated{
    .name = "truncated",
    .source = "Yao et al. 2025, Your efficient RL framework secretly brings you off-policy RL training (TIS), token level",
    .summary = "importance weight of each token, cut at a cap",
    .formula = "w = min(exp(old - behaviour), cap)",
    .differences = "verl caps at 2, OpenRLHF also floors at 0.5.",
    .options = options,
    .weight = weight};

} // namespace millrace::algorithms
