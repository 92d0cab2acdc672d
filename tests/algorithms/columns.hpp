#pragma once

#include "algorithms/algorithm.hpp"

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::tests {

/// Rewards of groups and the lengths of their answers, as the columns an advantage estimator reads; float64.
inline algorithms::step_columns step_of(const std::vector<std::vector<double>>& rewards,
                                        const std::vector<std::int64_t>& length) {
  std::vector<double> reward;
  std::vector<std::int64_t> group;
  for (std::size_t g = 0; g < rewards.size(); ++g)
    for (const double r : rewards[g]) {
      reward.push_back(r);
      group.push_back(static_cast<std::int64_t>(g));
    }
  algorithms::step_columns step;
  step.reward = at::tensor(reward, at::kDouble);
  step.group = at::tensor(group, at::kLong);
  step.length = at::tensor(length, at::kLong);
  step.behaviour_logprob = at::zeros({step.length.sum().item<std::int64_t>()}, at::kDouble);
  return step;
}

inline at::Tensor doubles(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble);
}

/// The advantages of a row of the table.
inline at::Tensor advantages_of(std::string_view row, const algorithms::step_columns& step,
                                const std::map<std::string, double>& set = {}) {
  const algorithms::algorithm* found = algorithms::find(row);
  TORCH_CHECK(found, "no algorithm ", std::string(row));
  return found->advantages(step, algorithms::hyperparameter_values(found->options, set));
}

/// Whole answers as a loss reads them, one group each or as `group` says; what was sampled is what the step began with.
inline algorithms::answer_columns answers_of(const std::vector<std::int64_t>& length, const at::Tensor& logprob,
                                             const at::Tensor& old, const at::Tensor& advantage) {
  algorithms::answer_columns a;
  a.length = at::tensor(length, at::kLong);
  a.logprob = logprob.detach().clone().requires_grad_();
  a.old_logprob = a.behaviour_logprob = old;
  a.advantage = advantage;
  a.reward = at::zeros(a.length.sizes(), at::kDouble);
  a.group = at::arange(a.length.numel(), at::kLong);
  a.group_tokens = a.length;
  return a;
}

/// What a row makes of some answers: a loss at each token, and the gradient of an aggregate with respect to each of
/// them.
struct row_losses {
  at::Tensor losses, gradient;
  algorithms::diagnostics found;
};

/// @param how aggregation of the gradient, over these answers as a whole step; fixed_length 1
inline row_losses losses_of(std::string_view row, const algorithms::answer_columns& answers,
                            const std::map<std::string, double>& set = {},
                            algorithms::aggregation how = algorithms::aggregation::sequence_mean) {
  const algorithms::algorithm* found = algorithms::find(row);
  TORCH_CHECK(found, "no algorithm ", std::string(row));
  row_losses out;
  out.losses = found->losses(answers, algorithms::hyperparameter_values(found->options, set), out.found);
  const auto groups = std::get<0>(at::unique_consecutive(answers.group)).numel();
  const algorithms::step_totals totals{answers.length.sum().item<std::int64_t>(),
                                       answers.length.gt(0).sum().item<std::int64_t>(), groups};
  const at::Tensor& by = answers.score.defined() ? answers.score : answers.logprob;
  if (by.grad().defined())
    by.mutable_grad().zero_();
  algorithms::aggregate(how, out.losses, answers.length, answers.group_tokens, totals, 1).backward();
  out.gradient = by.grad().clone();
  return out;
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  TORCH_CHECK(a.sizes() == b.sizes(), a.sizes(), " against ", b.sizes());
  return a.numel() ? (a - b).abs().max().item<double>() : 0;
}

} // namespace millrace::tests
