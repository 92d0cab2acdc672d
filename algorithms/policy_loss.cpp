#include "algorithms/policy_loss.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>

namespace millrace::algorithms {
namespace {

double total(const at::Tensor& x) { return x.detach().sum(at::kDouble).item<double>(); }

void observe(const answer_columns& answers, const at::Tensor& weight, diagnostics& found) {
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
}

} // namespace

at::Tensor policy_loss(const algorithm& row, const option_values& values, const loss_options& options,
                       const answer_columns& answers, const step_totals& totals, diagnostics& found) {
  at::Tensor losses = row.losses(answers, values, found);
  if (!options.corrections.empty()) {
    at::Tensor weight = at::ones_like(losses).detach();
    for (const auto& chosen : options.corrections)
      weight = weight * chosen.row->weight(answers, chosen.values, found);
    observe(answers, weight, found);
    losses = weight * losses;
  } else {
    observe(answers, at::ones_like(losses).detach(), found);
  }
  if (options.kl_coefficient > 0) {
    TORCH_CHECK(answers.ref_logprob.defined(), "ref_logprob: missing, and the KL term needs it");
    const at::Tensor kl = kl_term(options.kl, answers.logprob, answers.ref_logprob);
    found.reference_kl += total(kl);
    losses = losses + options.kl_coefficient * kl;
  }
  if (options.entropy_coefficient > 0) {
    TORCH_CHECK(answers.entropy.defined(), "entropy: missing, and the entropy bonus needs it");
    losses = losses - options.entropy_coefficient * answers.entropy;
  }
  return aggregate(options.how, losses, answers.length, answers.group_tokens, totals, options.fixed_length);
}

} // namespace millrace::algorithms
