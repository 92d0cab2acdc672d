#include "algorithms/policy_loss.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>

namespace millrace::algorithms {
namespace {

double total(const at::Tensor& x) {
  return x.detach().sum(at::kDouble).item<double>();
}

/// Schulman's k3 of x = logprob - other, summed.
double total_k3(const at::Tensor& x) {
  return total(x.exp() - x - 1);
}

/// Which of `age_words` each token belongs to. @returns [N] int64 on the CPU
at::Tensor ages(const answer_columns& answers) {
  const at::Tensor age = (answers.policy_version - answers.version).clamp_min(0).to(at::kCPU, at::kDouble);
  return at::bucketize(age, at::tensor({0.0, 1.0, 2.0, 4.0, 8.0}, at::kDouble));
}

/// Sums by age over the trained tokens. @param x [N]
at::Tensor sums_by_age(const at::Tensor& age, const at::Tensor& x) {
  return at::zeros({static_cast<std::int64_t>(age_words.size())}, at::kDouble)
      .index_add_(0, age, x.detach().to(at::kCPU, at::kDouble));
}

at::Tensor trained_ages(const answer_columns& answers) {
  const at::Tensor age = ages(answers);
  return answers.trains.defined() ? age.masked_select(answers.trains.to(at::kCPU)) : age;
}

at::Tensor trained_part(const answer_columns& answers, const at::Tensor& x) {
  return answers.trains.defined() ? x.masked_select(answers.trains) : x;
}

/// @param difference [N] current minus behaviour, double
void observe_ages(const answer_columns& answers, const at::Tensor& difference, diagnostics& found) {
  const at::Tensor age = trained_ages(answers), apart = trained_part(answers, difference), ratio = apart.exp();
  const at::Tensor cut = trained_part(answers, found.cut.defined() ? found.cut : at::zeros_like(difference, at::kBool));
  const at::Tensor tokens = sums_by_age(age, at::ones_like(apart)), clipped = sums_by_age(age, cut),
                   k1 = sums_by_age(age, -apart), k3 = sums_by_age(age, ratio - apart - 1),
                   ratios = sums_by_age(age, ratio);
  at::Tensor largest = at::zeros_like(tokens);
  largest.scatter_reduce_(0, age, ratio.to(at::kCPU, at::kDouble), "amax");
  const auto at = [](const at::Tensor& sums, std::size_t i) { return sums.data_ptr<double>()[i]; };
  for (std::size_t i = 0; i < age_words.size(); ++i)
    found.by_age[i] += {.tokens = static_cast<std::int64_t>(at(tokens, i)),
                        .clipped = static_cast<std::int64_t>(at(clipped, i)),
                        .k1 = at(k1, i),
                        .k3 = at(k3, i),
                        .ratio = at(ratios, i),
                        .largest_ratio = at(largest, i)};
}

void observe(const answer_columns& answers, const at::Tensor& weight, diagnostics& found) {
  const std::int64_t tokens = answers.logprob.numel();
  if (tokens == 0)
    return;
  const auto from = [&](const at::Tensor& other) {
    return (answers.logprob.detach() - other).clamp(-20, 20).to(at::kDouble);
  };
  const at::Tensor difference = from(answers.behaviour_logprob);
  found.tokens += tokens;
  found.behaviour_difference -= total(difference);
  found.behaviour_k3 += total_k3(difference);
  found.proximal_k3 += total_k3(from(answers.old_logprob));
  found.weight += total(weight);
  found.weight_squared += total(weight.to(at::kDouble).square());
  found.largest_weight = std::max(found.largest_weight, weight.max().item<double>());
  if (answers.version.defined())
    observe_ages(answers, difference, found);
}

answer_columns anchored(const loss_options& options, const answer_columns& answers) {
  answer_columns out = answers;
  out.old_logprob = anchor(options.against, answers);
  return out;
}

/// The product of the corrections of one scope.
at::Tensor weights_of(scope sees, const loss_options& options, const answer_columns& answers, diagnostics& found) {
  at::Tensor weight = at::ones_like(answers.old_logprob).detach();
  for (const auto& chosen : options.corrections)
    if (chosen.row->sees == sees)
      weight = weight * chosen.row->weight(answers, chosen.values, found);
  return weight;
}

} // namespace

void observe_entropy(const answer_columns& answers, const at::Tensor& entropy, diagnostics& found) {
  found.entropy += total(entropy);
  if (!answers.version.defined() || entropy.numel() == 0)
    return;
  const at::Tensor sums = sums_by_age(trained_ages(answers), trained_part(answers, entropy));
  for (std::size_t i = 0; i < age_words.size(); ++i)
    found.by_age[i].entropy += sums.data_ptr<double>()[i];
}

at::Tensor correction_weights(const loss_options& options, const answer_columns& step) {
  diagnostics found;
  const answer_columns answers = anchored(options, step);
  return weights_of(scope::answer, options, answers, found) * weights_of(scope::step, options, answers, found);
}

bool needs_whole_step(const loss_options& options) {
  return std::any_of(options.corrections.begin(), options.corrections.end(),
                     [](const auto& chosen) { return chosen.row->sees == scope::step; });
}

at::Tensor step_weights(const loss_options& options, const answer_columns& step) {
  diagnostics found; // counted where the weights are used
  return weights_of(scope::step, options, anchored(options, step), found);
}

at::Tensor policy_loss(const algorithm& row, const hyperparameter_values& values, const loss_options& options,
                       const answer_columns& given, const step_totals& totals, diagnostics& found) {
  answer_columns answers = anchored(options, given);
  if (answers.trains.defined())
    answers.logprob = at::where(answers.trains, answers.logprob, answers.logprob.detach());
  found.cut = at::Tensor();
  at::Tensor losses = row.losses(answers, values, found);
  at::Tensor weight = weights_of(scope::answer, options, answers, found);
  if (answers.step_weight.defined()) {
    weight = weight * answers.step_weight;
    found.masked += answers.step_weight.eq(0).sum().item<std::int64_t>();
  } else if (needs_whole_step(options)) {
    weight = weight * weights_of(scope::step, options, answers, found);
  }
  observe(answers, weight, found);
  if (!options.corrections.empty())
    losses = weight * losses;
  if (options.kl_coefficient > 0) {
    TORCH_CHECK(answers.ref_logprob.defined(), "ref_logprob: missing, and the KL term needs it");
    const at::Tensor kl = kl_term(options.kl, answers.logprob, answers.ref_logprob, options.clamps);
    found.reference_kl += total(kl);
    losses = losses + options.kl_coefficient * kl;
  }
  if (options.entropy_coefficient > 0) {
    TORCH_CHECK(answers.entropy.defined(), "entropy: missing, and the entropy bonus needs it");
    losses = losses - options.entropy_coefficient * answers.entropy;
  }
  if (answers.trains.defined())
    losses = at::where(answers.trains, losses, at::zeros_like(losses));
  return aggregate(options.how.value_or(row.how), losses, answers.length, answers.group_tokens, totals,
                   options.fixed_length);
}

} // namespace millrace::algorithms
