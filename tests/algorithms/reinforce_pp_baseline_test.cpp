#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace reinforce_pp_baseline_test {

using namespace millrace;
using tests::advantages_of;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

TEST_CASE("reinforce_pp_baseline: what sets a group apart is gone before whitening") {
  // rewards less their group's mean: -1 1 and -3 3; variance (1 + 1 + 9 + 9) / 4 = 5
  const double s = std::sqrt(5.0);
  const auto a = advantages_of("reinforce_pp_baseline", step_of({{10, 12}, {0, 6}}, {1, 1, 1, 1}), {{"eps", 0}});
  CHECK(largest_difference(a, doubles({-1 / s, 1 / s, -3 / s, 3 / s})) < 1e-12);
}

TEST_CASE("reinforce_pp_baseline: the answer's KL before the baseline, or tokens' after it") {
  auto step = step_of({{3, 1}}, {2, 1});
  step.behaviour_logprob = doubles({-1, -1, -1});
  step.ref_logprob = doubles({-2, -2, -1});
  // k1: 1 1 | 0; form 0: rewards 1 and 1; form 1: 1 - 2, 1 - 1, -1; form 2: 1 - 1, 1 - 1, -1
  const auto with_form = [&](double form) {
    return advantages_of("reinforce_pp_baseline", step,
                         {{"kl_in_reward", 1}, {"kl_in_reward_form", form}, {"whitening", 0}});
  };
  CHECK(largest_difference(with_form(0), doubles({0, 0, 0})) < 1e-12);
  CHECK(largest_difference(with_form(1), doubles({-1, 0, -1})) < 1e-12);
  CHECK(largest_difference(with_form(2), doubles({0, 0, -1})) < 1e-12);
}

TEST_CASE("reinforce_pp_baseline: equal rewards in every group give exactly nothing") {
  CHECK(at::equal(advantages_of("reinforce_pp_baseline", step_of({{0.1, 0.1}, {7}}, {1, 2, 1})),
                  at::zeros({4}, at::kDouble)));
}

} // namespace reinforce_pp_baseline_test
