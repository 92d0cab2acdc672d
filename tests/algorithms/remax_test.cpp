#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

namespace remax_test {

using namespace millrace;
using tests::advantages_of;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

TEST_CASE("remax: reward less that of the greedy answer") {
  auto step = step_of({{6}, {2}}, {2, 1});
  step.baseline = doubles({1, 3});
  CHECK(largest_difference(advantages_of("remax", step), doubles({5, 5, -1})) < 1e-12);
}

TEST_CASE("remax: each token pays for the KL from itself on") {
  auto step = step_of({{6}}, {2});
  step.baseline = doubles({1});
  step.behaviour_logprob = doubles({-1, -1});
  step.ref_logprob = doubles({-2, -1.5});
  CHECK(largest_difference(advantages_of("remax", step, {{"kl_in_reward", 2}}), doubles({5 - 3, 5 - 1})) < 1e-12);
}

TEST_CASE("remax: without a ratio it is the plain policy gradient wherever the policy has gone") {
  const auto out = tests::losses_of(
      "remax", tests::answers_of({2}, doubles({-1, -3}), doubles({-2, -2}), doubles({2, -1})), {{"ratio", 0}});
  CHECK(largest_difference(out.gradient, doubles({-1, 0.5})) < 1e-12);
}

TEST_CASE("remax: a missing baseline is refused by name") {
  CHECK_THROWS_WITH_AS(advantages_of("remax", step_of({{1}}, {1})), doctest::Contains("baseline"), c10::Error);
}

} // namespace remax_test
