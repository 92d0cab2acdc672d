#include "algorithms/policy_loss.hpp"

#include "algorithms/importance.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace millrace::algorithms {
namespace {

double total(const at::Tensor& x) { return x.detach().sum(at::kDouble).item<double>(); }

void observe(const answer_columns& answers, const at::Tensor& weight, double cap, diagnostics& found) {
  const std::int64_t tokens = answers.logprob.numel();
  if (tokens == 0)
    return;
  const at::Tensor difference = (answers.logprob.detach() - answers.behaviour_logprob).clamp(-20, 20).to(at::kDouble);
  found.tokens += tokens;
  found.behaviour_difference -= total(difference);
  found.behaviour_k3 += total(difference.exp() - difference - 1);
  found.weight += total(weight);
  found.weight_squared += total(weight.to(at::kDouble).square());
  found.largest_weight = std::max(found.largest_weight, weight.max().item<double>());
  if (cap > 0)
    found.truncated += weight.ge(cap).sum().item<std::int64_t>();
}

} // namespace

at::Tensor policy_loss(const algorithm& row, const option_values& values, const loss_options& options,
                       const answer_columns& answers, const step_totals& totals, diagnostics& found) {
  const at::Tensor weight =
      truncated_importance_weight(answers.old_logprob, answers.behaviour_logprob, options.importance_cap);
  observe(answers, weight, options.importance_cap, found);
  at::Tensor losses = weight * row.token_loss(answers, values, found);
  if (options.kl_coefficient > 0) {
    TORCH_CHECK(answers.ref_logprob.defined(), "ref_logprob: missing, and the KL term needs it");
    const at::Tensor kl = kl_term(options.kl, answers.logprob, answers.ref_logprob);
    found.reference_kl += total(kl);
    losses = losses + options.kl_coefficient * kl;
  }
  return aggregate(options.how, losses, answers.length, totals);
}

} // namespace millrace::algorithms
