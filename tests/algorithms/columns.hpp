#pragma once

#include "algorithms/algorithm.hpp"

#include <ATen/ATen.h>

#include <vector>

namespace millrace::tests {

/// Rewards of groups and the lengths of their answers, as the columns an advantage estimator reads; float64.
inline algorithms::step_columns step_of(const std::vector<std::vector<double>>& rewards, const std::vector<std::int64_t>& length) {
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

inline at::Tensor doubles(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  TORCH_CHECK(a.sizes() == b.sizes(), a.sizes(), " against ", b.sizes());
  return a.numel() ? (a - b).abs().max().item<double>() : 0;
}

} // namespace millrace::tests
