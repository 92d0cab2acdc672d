#include "algorithms/algorithm.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace grpo_test {

using namespace millrace;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

namespace {

at::Tensor advantages(const algorithms::step_columns& step, const std::map<std::string, double>& set = {}) {
  const auto* row = algorithms::find("grpo");
  REQUIRE(row);
  return row->advantages(step, algorithms::hyperparameter_values(row->options, set));
}

} // namespace

TEST_CASE("grpo: rewards 0, 0, 1, 3 have mean 1 and standard deviation sqrt 2") {
  // squares of the differences: 1 + 1 + 0 + 4 = 6, over n - 1 = 3: variance 2
  const double one = 1 / (std::sqrt(2.0) + 1e-6);
  CHECK(largest_difference(advantages(step_of({{0, 0, 1, 3}}, {1, 2, 1, 1})), doubles({-one, -one, -one, 0, 2 * one}))
        < 1e-12);
}

TEST_CASE("grpo: without normalisation the advantage is the distance from the mean") {
  CHECK(
      largest_difference(advantages(step_of({{0, 0, 1, 3}}, {1, 1, 1, 1}), {{"normalise", 0}}), doubles({-1, -1, 0, 2}))
      < 1e-12);
}

TEST_CASE("grpo: equal rewards and a group of one give exactly nothing") {
  const auto a = advantages(step_of({{0.1, 0.1, 0.1}, {5}, {0, 1}}, {1, 1, 1, 1, 1, 1}));
  CHECK(at::equal(a.narrow(0, 0, 4), at::zeros({4}, at::kDouble)));
  CHECK(a[5].item<double>() > 0.7);
}

TEST_CASE("grpo: advantages of a group sum to zero and follow a permutation of its answers") {
  const auto a = advantages(step_of({{0.3, 0.9, 0.1, 0.4}}, {1, 1, 1, 1}));
  CHECK(std::abs(a.sum().item<double>()) < 1e-12);
  const auto b = advantages(step_of({{0.4, 0.1, 0.9, 0.3}}, {1, 1, 1, 1}));
  CHECK(largest_difference(a.flip(0), b) < 1e-12);
}

TEST_CASE("grpo: a group's advantages do not depend on the other groups") {
  const auto alone = advantages(step_of({{0, 1, 1}}, {1, 1, 1}));
  const auto among = advantages(step_of({{9, -9}, {0, 1, 1}, {2}}, {1, 1, 1, 1, 1, 1}));
  CHECK(largest_difference(alone, among.narrow(0, 2, 3)) < 1e-12);
}

TEST_CASE("grpo: leaving oneself out, mean and deviation are those of the others") {
  // the 1 sees 0 and 0: not divided; each 0 sees 0 and 1: mean 1/2, variance 1/2
  CHECK(largest_difference(advantages(step_of({{0, 0, 1}}, {1, 1, 1}), {{"leave_one_out", 1}, {"eps", 0}}),
                           doubles({-std::sqrt(0.5), -std::sqrt(0.5), 1}))
        < 1e-12);
  // of two, the other one has no deviation
  CHECK(largest_difference(advantages(step_of({{1, 4}}, {1, 1}), {{"leave_one_out", 1}}), doubles({-3, 3})) < 1e-12);
}

TEST_CASE("grpo: the step's deviation, a bound on advantages, and a lone answer that keeps its reward") {
  // rewards 0 2 4 6: deviation sqrt(20 / 3)
  const double s = std::sqrt(20.0 / 3);
  CHECK(largest_difference(advantages(step_of({{0, 2}, {4, 6}}, {1, 1, 1, 1}), {{"normalise", 2}, {"eps", 0}}),
                           doubles({-1 / s, 1 / s, -1 / s, 1 / s}))
        < 1e-12);
  CHECK(
      largest_difference(advantages(step_of({{0, 0, 1, 3}}, {1, 1, 1, 1}), {{"normalise", 0}, {"advantage_clip", 1.5}}),
                         doubles({-1, -1, 0, 1.5}))
      < 1e-12);
  CHECK(largest_difference(advantages(step_of({{3}}, {2}), {{"keep_lone", 1}, {"eps", 0.5}}), doubles({2, 2})) < 1e-12);
}

TEST_CASE("grpo: KL in the reward, of the answer before the baseline or of tokens after it") {
  auto step = step_of({{3, 1}}, {2, 1});
  step.behaviour_logprob = doubles({-1, -1, -1});
  step.ref_logprob = doubles({-2, -2, -1});
  const auto with_form = [&](double form) {
    return advantages(step, {{"normalise", 0}, {"kl_in_reward", 0.5}, {"kl_in_reward_form", form}});
  };
  CHECK(largest_difference(with_form(0), doubles({0.5, 0.5, -0.5})) < 1e-12); // rewards 2 and 1
  CHECK(largest_difference(with_form(1), doubles({0, 0.5, -1})) < 1e-12);
}

} // namespace grpo_test
