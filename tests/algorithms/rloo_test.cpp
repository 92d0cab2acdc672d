#include "algorithms/algorithm.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace rloo_test {

using namespace millrace;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

namespace {

at::Tensor advantages(const algorithms::step_columns& step) {
  const auto* row = algorithms::find("rloo");
  REQUIRE(row);
  return row->advantages(step, algorithms::hyperparameter_values(row->options));
}

} // namespace

TEST_CASE("rloo: each reward less the mean of the others") {
  // 6 - (0 + 3) / 2 = 4.5; 0 - (6 + 3) / 2 = -4.5; 3 - (6 + 0) / 2 = 0
  CHECK(largest_difference(advantages(step_of({{6, 0, 3}}, {2, 1, 1})), doubles({4.5, 4.5, -4.5, 0})) < 1e-12);
}

TEST_CASE("rloo: equal rewards and a group of one give exactly nothing") {
  CHECK(at::equal(advantages(step_of({{0.1, 0.1, 0.1}, {5}}, {1, 1, 1, 1})), at::zeros({4}, at::kDouble)));
}

TEST_CASE("rloo: advantages of a group sum to zero") {
  CHECK(std::abs(advantages(step_of({{0.3, 0.9, 0.1, 0.4}}, {1, 1, 1, 1})).sum().item<double>()) < 1e-12);
}

TEST_CASE(
    "rloo: without a ratio it is the plain policy gradient; the ratio of an answer is the product of its tokens'") {
  const auto old = doubles({-2, -2, -2});
  const auto answers = tests::answers_of({2, 1}, old + doubles({2, 3, 0.5}).log(), old, doubles({-1, -1, 1}));
  CHECK(largest_difference(tests::losses_of("rloo", answers, {{"ratio", 0}}).gradient, doubles({0.25, 0.25, -0.5}))
        < 1e-12);
  const auto whole = tests::losses_of("rloo", answers, {{"ratio", 2}});
  CHECK(largest_difference(whole.losses, doubles({6, 6, -0.5})) < 1e-12);
  CHECK(largest_difference(whole.gradient, doubles({3, 3, -0.25})) < 1e-12); // over two answers
}

TEST_CASE("rloo: the answer's KL comes off its reward before the baseline; advantages of the step can be whitened") {
  auto step = step_of({{3, 1}}, {2, 1});
  step.behaviour_logprob = doubles({-1, -1, -1});
  step.ref_logprob = doubles({-2, -2, -1});
  CHECK(largest_difference(tests::advantages_of("rloo", step, {{"kl_in_reward", 0.5}}), doubles({1, 1, -1})) < 1e-12);
  // -2 and 2: deviation sqrt 8
  CHECK(largest_difference(tests::advantages_of("rloo", step, {{"normalise", 1}, {"eps", 0}}),
                           doubles({2, 2, -2}) / std::sqrt(8.0))
        < 1e-12);
}

} // namespace rloo_test
