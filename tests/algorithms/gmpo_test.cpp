#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace gmpo_test {

using namespace millrace;
using tests::doubles;
using tests::largest_difference;
using tests::losses_of;

TEST_CASE("gmpo: log-ratios are cut on the side that gains, then averaged") {
  const auto old = doubles({-3, -3});
  const auto up = losses_of("gmpo", tests::answers_of({2}, old + doubles({1, -1}), old, doubles({1, 1})));
  // 1 is cut to 0.4, -1 stays: mean -0.3
  CHECK(largest_difference(up.losses, doubles({-std::exp(-0.3), -std::exp(-0.3)})) < 1e-12);
  CHECK(largest_difference(up.gradient, doubles({0, -std::exp(-0.3) / 2})) < 1e-12);
  CHECK(up.found.clipped == 1);
  const auto down = losses_of("gmpo", tests::answers_of({2}, old + doubles({1, -1}), old, doubles({-1, -1})));
  CHECK(largest_difference(down.losses, doubles({std::exp(0.3), std::exp(0.3)})) < 1e-12);
  CHECK(largest_difference(down.gradient, doubles({std::exp(0.3) / 2, 0})) < 1e-12);
}

} // namespace gmpo_test
