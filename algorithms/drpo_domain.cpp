#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/group_advantage.hpp"
#include "algorithms/group_statistics.hpp"
#include "algorithms/reward_clusters.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

namespace millrace::algorithms {
namespace drpo_domain_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    clip_low,
    clip_high,
    dual_clip,
    normalise,
    group_eps,
    leave_one_out,
    {.name = "clusters",
     .fallback = 10,
     .low = 1,
     .high = 100,
     .meaning = "largest number of clusters of a domain's questions",
     .takes = range::whole},
    {.name = "tolerance",
     .fallback = 0.1,
     .low = 0,
     .high = 1,
     .meaning = "another cluster must lower the sum of squares by this share of what the last cluster lowered it by"},
};

struct question {
  std::vector<std::int64_t> answers; ///< places in the step
  std::vector<double> rewards;
};

/// The questions of each domain, in the step's order.
std::map<std::int64_t, std::vector<question>> by_domain(const step_columns& step) {
  std::map<std::int64_t, std::vector<question>> out;
  const at::Tensor reward = step.reward.detach().to(at::kCPU, at::kDouble), group = step.group.to(at::kCPU);
  const at::Tensor domain = step.domain.defined() ? step.domain.to(at::kCPU) : at::zeros_like(group);
  TORCH_CHECK(domain.sizes() == group.sizes(), "domain: want ", group.sizes(), ", got ", domain.sizes());
  for (std::int64_t i = 0; i < group.numel(); ++i) {
    auto& questions = out[domain[i].item<std::int64_t>()];
    const bool same = !questions.empty() && group[questions.back().answers.back()].equal(group[i]);
    if (!same)
      questions.emplace_back();
    questions.back().answers.push_back(i);
    questions.back().rewards.push_back(reward[i].item<double>());
  }
  return out;
}

/// The divisor of each answer's advantage. @returns [A] double, > 0
at::Tensor scales(const step_columns& step, const hyperparameter_values& values) {
  constexpr double least = 1e-6;
  at::Tensor out = at::ones(step.reward.sizes(), at::kDouble);
  for (const auto& [domain, questions] : by_domain(step)) {
    std::vector<std::vector<double>> rewards;
    for (const auto& q : questions)
      rewards.push_back(q.rewards);
    const reward_clusters c =
        cluster_rewards(rewards, static_cast<std::size_t>(values.get("clusters")), values.get("tolerance"));
    double weighted = 0, weights = 0;
    for (std::size_t k = 0; k < c.size.size(); ++k) {
      weighted += c.mean[k] / c.size[k];
      weights += 1 / c.size[k];
    }
    const double of_domain = std::max(std::sqrt(static_cast<double>(questions.size())) * weighted / weights, least);
    for (std::size_t q = 0; q < questions.size(); ++q) {
      const double of_cluster = std::max(std::sqrt(c.size[c.of[q]]) * c.mean[c.of[q]], least);
      for (const std::int64_t i : questions[q].answers)
        out[i] = of_domain * of_cluster;
    }
  }
  return out;
}

at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  at::Tensor a = group_advantages(step.reward, step.group, values);
  if (a.numel() > 1) {
    a = a / scales(step, values).to(a.device(), a.scalar_type());
    a = a / (a.std(0, /*unbiased=*/true) + values.get("eps"));
  }
  return spread_over_tokens(a, step.length);
}

} // namespace drpo_domain_row

extern const algorithm drpo_domain;
const algorithm drpo_domain{
    .name = "drpo_domain",
    .source = "Dai et al. 2025, QoQ-Med: domain-aware relative policy optimization, arXiv:2506.00711",
    .summary = "GRPO's advantage, larger for domains and kinds of questions that are rare or hard",
    .formula = "a_i = (R_i - mean(R)) / (std(R) + eps);  the questions of a domain are clustered by their rewards: c, "
               "N_c questions of mean reward m_c\n"
               "m_d = sum over c of (m_c / N_c) / sum over c of (1 / N_c);  N_d: questions of the domain\n"
               "A_i = a_i / (sqrt(N_d) m_d * sqrt(N_c) m_c), then over the standard deviation of the step's\n"
               "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)",
    .differences =
        "The authors cluster every question since the run began, anew at each step; here it is the questions of the "
        "step, so that the function is pure and its cost bounded: N_d and N_c count the step. Where no role adds a "
        "domain, all are of one. Rewards are sorted before they are clustered, so that the order of answers changes "
        "nothing. Rewards should not be negative: a cluster's factor is at least 1e-6, where the authors divide by 0 "
        "or turn the sign. Their KL damping is commented out in the code read and is not here.",
    .columns = drpo_domain_row::columns,
    .options = drpo_domain_row::options,
    .by_advantage = true,
    .least_answers = 2,
    .advantages = drpo_domain_row::advantages,
    .losses = clipped_losses,
};

} // namespace millrace::algorithms
