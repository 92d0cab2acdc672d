#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace sapo_test {

using namespace millrace;
using tests::doubles;
using tests::largest_difference;
using tests::losses_of;

TEST_CASE("sapo: at ratio 1 the gradient is the plain policy gradient, the loss 2 / tau times the advantage") {
  const auto here = doubles({-1, -2});
  const auto out = losses_of("sapo", tests::answers_of({1, 1}, here, here, doubles({3, -1})),
                             {{"tau_positive", 2}, {"tau_negative", 0.5}}, algorithms::aggregation::fixed_length);
  CHECK(largest_difference(out.losses, doubles({-3, 4})) < 1e-12);
  CHECK(largest_difference(out.gradient, doubles({-1.5, 0.5})) < 1e-12);
}

TEST_CASE("sapo: the gate closes smoothly away from 1, faster for negative advantages") {
  const auto old = doubles({-3, -3});
  const auto out = losses_of("sapo", tests::answers_of({1, 1}, old + std::log(3), old, doubles({1, -1})), {},
                             algorithms::aggregation::fixed_length);
  // tau (r - 1) = 2 and 2.1; slope of 4 / tau sigmoid(tau (r - 1)) in log r: 4 r sigmoid (1 - sigmoid); mean of two
  // answers
  const auto slope = [](double x) { return 4 * 3 / (1 + std::exp(-x)) / (1 + std::exp(x)) / 2; };
  CHECK(largest_difference(out.gradient, doubles({-slope(2), slope(2.1)})) < 1e-12);
}

} // namespace sapo_test
