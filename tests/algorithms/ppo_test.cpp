#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace ppo_test {

using namespace millrace;
using tests::advantages_of;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

namespace {

/// Reward 4 at the second token of one answer, values 3 and 2.
algorithms::step_columns two_tokens() {
  auto step = step_of({{4}}, {2});
  step.value = doubles({3, 2});
  return step;
}

} // namespace

TEST_CASE("ppo: two tokens by hand, lambda 0.5") {
  // errors 0 + 2 - 3 = -1 and 4 - 2 = 2; A_1 = -1 + 0.5 * 2 = 0
  CHECK(largest_difference(advantages_of("ppo", two_tokens(), {{"lambda", 0.5}, {"whitening", 0}}), doubles({0, 2}))
        < 1e-12);
  // whitened: mean 1; biased variance 1, unbiased 2
  CHECK(largest_difference(advantages_of("ppo", two_tokens(), {{"lambda", 0.5}, {"eps", 0}}), doubles({-1, 1}))
        < 1e-12);
  CHECK(largest_difference(advantages_of("ppo", two_tokens(), {{"lambda", 0.5}, {"eps", 0}, {"whitening", 2}}),
                           doubles({-std::sqrt(0.5), std::sqrt(0.5)}))
        < 1e-12);
}

TEST_CASE("ppo: the reward is cut and pays for the distance to the reference, token by token") {
  auto step = two_tokens();
  step.behaviour_logprob = doubles({-1, -1});
  step.ref_logprob = doubles({-2, -3});
  // rewards -0.5 * 1 and 3 - 0.5 * 2 = 2; with lambda 1, A = return to go - V = 1.5 - 3, 2 - 2
  const auto a =
      advantages_of("ppo", step, {{"lambda", 1}, {"whitening", 0}, {"kl_in_reward", 0.5}, {"reward_clip", 3}});
  CHECK(largest_difference(a, doubles({-1.5, 0})) < 1e-12);
  // k2 of differences 1 and 2: 0.5 and 2
  const auto b = advantages_of("ppo", step,
                               {{"lambda", 1}, {"whitening", 0}, {"kl_in_reward", 0.5}, {"kl_in_reward_estimator", 2}});
  CHECK(largest_difference(b, doubles({3 - 0.25 - 3, 3 - 2})) < 1e-12);
}

TEST_CASE("ppo: with a length-adaptive lambda a short answer has one-step errors") {
  CHECK(largest_difference(advantages_of("ppo", two_tokens(), {{"length_adaptive", 0.5}, {"whitening", 0}}),
                           doubles({-1, 2}))
        < 1e-12);
  CHECK(largest_difference(advantages_of("ppo", two_tokens(), {{"length_adaptive", 1}, {"whitening", 0}}),
                           doubles({0, 2}))
        < 1e-12);
}

TEST_CASE("ppo: a critic that is always right leaves exactly nothing") {
  auto step = step_of({{1, 1}}, {1, 1});
  step.value = doubles({1, 1});
  CHECK(at::equal(advantages_of("ppo", step), at::zeros({2}, at::kDouble)));
}

TEST_CASE("ppo: missing columns are refused by name") {
  CHECK_THROWS_WITH_AS(advantages_of("ppo", step_of({{1}}, {1})), doctest::Contains("value"), c10::Error);
  CHECK_THROWS_WITH_AS(advantages_of("ppo", two_tokens(), {{"kl_in_reward", 1}}), doctest::Contains("ref_logprob"),
                       c10::Error);
}

} // namespace ppo_test
