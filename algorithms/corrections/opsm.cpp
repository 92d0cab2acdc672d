#include "algorithms/correction.hpp"
#include "algorithms/corrections/importance.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace opsm_row {

constexpr std::string_view policies[] = {"behaviour", "old"};
constexpr hyperparameter options[] = {
    {.name = "delta",
     .fallback = 1e-4,
     .low = -1e9,
     .high = 1e9,
     .meaning = "an answer is kept while its mean of (policy - current) is at most this, nats a token"},
    {.name = "policy",
     .fallback = 0,
     .low = 0,
     .high = 1,
     .meaning = "the policy that the current policy is compared with",
     .words = policies},
};
constexpr preset::setting deepseek_settings[] = {{"policy", 0}};
constexpr preset::setting slime_settings[] = {{"policy", 1}, {"delta", 1e-4}};
constexpr preset presets[] = {{"deepseek", deepseek_settings}, {"slime", slime_settings}};

at::Tensor weight(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const at::Tensor& from = values.word("policy") == "old" ? answers.old_logprob : answers.behaviour_logprob;
  const at::Tensor far = answer_mean(from.detach() - answers.logprob.detach(), answers.length).gt(values.get("delta"));
  return kept(at::ones_like(far, from.options().requires_grad(false)),
              answers.advantage.lt(0).logical_and_(far).logical_not_(), found);
}

} // namespace opsm_row

extern const correction opsm;
const correction opsm{
    .name = "opsm",
    .source = "DeepSeek-AI 2025, DeepSeek-V3.2, arXiv:2512.02556, off-policy sequence masking",
    .summary = "drops bad answers that the current policy has moved away from",
    .formula = "w = 0 where A < 0 and mean over the answer of (policy - current) > delta, else 1",
    .differences =
        "TRL holds the current policy against the sampler, slime against the recomputed old policy: option policy. "
        "With one update a step old is the current policy and only policy = behaviour masks anything.",
    .options = opsm_row::options,
    .presets = opsm_row::presets,
    .weight = opsm_row::weight,
};

} // namespace millrace::algorithms
