#include "algorithms/algorithm.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace millrace;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

namespace {

at::Tensor advantages(const algorithms::step_columns& step, std::map<std::string, double> set = {}) {
  const auto* row = algorithms::find("reinforce_pp");
  REQUIRE(row);
  set.try_emplace("eps", 1e-12);
  return row->advantages(step, algorithms::option_values(row->options, set));
}

} // namespace

TEST_CASE("reinforce_pp: rewards are whitened over the tokens of the whole step") {
  // tokens: 0 0 0 4 (the first answer has three): mean 1, biased variance (3 * 1 + 9) / 4 = 3
  const double s = std::sqrt(3.0);
  CHECK(largest_difference(advantages(step_of({{0}, {4}}, {3, 1})), doubles({-1 / s, -1 / s, -1 / s, 3 / s})) < 1e-9);
}

TEST_CASE("reinforce_pp: with a group baseline, what sets a group apart is gone before whitening") {
  // rewards less their group's mean: -1 1 and -3 3; variance (1 + 1 + 9 + 9) / 4 = 5
  const double s = std::sqrt(5.0);
  const auto a = advantages(step_of({{10, 12}, {0, 6}}, {1, 1, 1, 1}), {{"group_baseline", 1}});
  CHECK(largest_difference(a, doubles({-1 / s, 1 / s, -3 / s, 3 / s})) < 1e-9);
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
