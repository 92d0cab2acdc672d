#include "tests/algorithms/corrections/answers.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace rejection_test {

using namespace millrace::tests;
using millrace::algorithms::diagnostics;

TEST_CASE("rejection by token, sum, mean and largest of k2") {
  // d = 0.2 and 0.4: k2 = 0.02 and 0.08, sum 0.1, mean 0.05.
  const auto answers = answers_with_ratios({std::exp(0.2), std::exp(0.4)}, {2});
  const auto by = [&](double over, double high) {
    return weight_of("rejection", answers, {{"estimator", 1}, {"over", over}, {"high", high}});
  };
  CHECK(largest_difference(by(0, 0.05), doubles({1, 0})) == 0);
  CHECK(largest_difference(by(1, 0.11), doubles({1, 1})) == 0);
  CHECK(largest_difference(by(1, 0.09), doubles({0, 0})) == 0);
  CHECK(largest_difference(by(2, 0.06), doubles({1, 1})) == 0);
  CHECK(largest_difference(by(2, 0.04), doubles({0, 0})) == 0);
  CHECK(largest_difference(by(3, 0.09), doubles({1, 1})) == 0);
  CHECK(largest_difference(by(3, 0.07), doubles({0, 0})) == 0);
}

TEST_CASE("rejection by k3: 2 - log 2 - 1 = 0.307 for a ratio of two") {
  const auto answers = answers_with_ratios({2, 1}, {1, 1});
  CHECK(largest_difference(weight_of("rejection", answers, {{"high", 0.3}}), doubles({0, 1})) == 0);
  CHECK(largest_difference(weight_of("rejection", answers, {{"high", 0.31}}), doubles({1, 1})) == 0);
}

TEST_CASE("rejection by k1 has two sides") {
  const auto answers = answers_with_ratios({0.5, 1, 2}, {1, 1, 1});
  CHECK(largest_difference(weight_of("rejection", answers, {{"estimator", 0}, {"low", -0.5}, {"high", 0.5}}),
                           doubles({0, 1, 0}))
        == 0);
}

} // namespace rejection_test
