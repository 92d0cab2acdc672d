#include "algorithms/algorithm.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace reinforce_pp_test {

using namespace millrace;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

namespace {

at::Tensor advantages(const algorithms::step_columns& step, std::map<std::string, double> set = {}) {
  const auto* row = algorithms::find("reinforce_pp");
  REQUIRE(row);
  set.try_emplace("eps", 1e-12);
  return row->advantages(step, algorithms::hyperparameter_values(row->options, set));
}

} // namespace

TEST_CASE("reinforce_pp: rewards are whitened over the tokens of the whole step") {
  // tokens: 0 0 0 4 (the first answer has three): mean 1, biased variance (3 * 1 + 9) / 4 = 3
  const double s = std::sqrt(3.0);
  CHECK(largest_difference(advantages(step_of({{0}, {4}}, {3, 1})), doubles({-1 / s, -1 / s, -1 / s, 3 / s})) < 1e-9);
}

TEST_CASE("reinforce_pp: KL in the reward is owed by the token and all before it") {
  auto step = step_of({{1}, {0}}, {2, 1});
  step.behaviour_logprob = doubles({-1, -1, -1});
  step.ref_logprob = doubles({-2, -1.5, -1});
  // k1: 1, 0.5, 0; to go: 1.5, 0.5, 0; times 2 off the rewards 1 1 0: -2 0 0; mean -2/3, variance 8/9
  const double s = std::sqrt(8.0 / 9);
  const auto a = advantages(step, {{"kl_in_reward", 2}});
  CHECK(largest_difference(a, doubles({-4.0 / 3 / s, 2.0 / 3 / s, 2.0 / 3 / s})) < 1e-9);
}

TEST_CASE("reinforce_pp: each token's own KL only, a discount, and the unbiased variance") {
  auto step = step_of({{1}, {0}}, {2, 1});
  step.behaviour_logprob = doubles({-1, -1, -1});
  step.ref_logprob = doubles({-2, -1.5, -1});
  // 1 - 2, 1 - 1, 0: mean -1/3, squares 4/9 1/9 1/9, over 2: 1/3
  const double s = std::sqrt(1.0 / 3);
  CHECK(largest_difference(advantages(step, {{"kl_in_reward", 2}, {"kl_in_reward_form", 2}, {"whitening", 2}}),
                           doubles({-2.0 / 3 / s, 1.0 / 3 / s, 1.0 / 3 / s}))
        < 1e-9);
  CHECK(largest_difference(advantages(step, {{"gamma", 0.5}, {"whitening", 0}}), doubles({0.5, 1, 0})) < 1e-12);
  // to go, discounted: 0.5 - 2 (1 + 0.25), 1 - 2 * 0.5, 0
  CHECK(
      largest_difference(advantages(step, {{"gamma", 0.5}, {"whitening", 0}, {"kl_in_reward", 2}}), doubles({-2, 0, 0}))
      < 1e-12);
}

TEST_CASE(
    "reinforce_pp: one token 7 nats from the reference does not make a right answer the worst, under verl's clamps") {
  auto step = step_of({{1}}, {1});
  step.behaviour_logprob = doubles({-8});
  step.ref_logprob = doubles({-1}); // k3: e^7 - 7 - 1 = 1088.6
  const std::map<std::string, double> set{{"kl_in_reward", 0.05}, {"kl_in_reward_estimator", 3}, {"whitening", 0}};
  CHECK(advantages(step, set).item<double>() == doctest::Approx(1 - 0.05 * (std::exp(7) - 8)));
  step.clamps = {.input = 20, .output = 10};
  CHECK(advantages(step, set).item<double>() == doctest::Approx(0.5));
}

TEST_CASE("reinforce_pp: KL in the reward without a reference is refused by the column's name") {
  auto step = step_of({{1, 0}}, {1, 1});
  CHECK_THROWS_WITH_AS(advantages(step, {{"kl_in_reward", 1}}), doctest::Contains("ref_logprob"), c10::Error);
}

TEST_CASE("reinforce_pp: equal rewards and a step without tokens give exactly nothing") {
  CHECK(at::equal(advantages(step_of({{0.1, 0.1}, {0.1}}, {1, 2, 1})), at::zeros({4}, at::kDouble)));
  CHECK(advantages(step_of({{1}}, {0})).numel() == 0);
}

TEST_CASE("reinforce_pp: whitened advantages have mean 0 and variance 1") {
  const auto a = advantages(step_of({{0.3, 0.9}, {0.1, 0.4}}, {3, 1, 2, 5}));
  CHECK(std::abs(a.mean().item<double>()) < 1e-12);
  CHECK(std::abs(a.var(0, false).item<double>() - 1) < 1e-9);
}

} // namespace reinforce_pp_test
