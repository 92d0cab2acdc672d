#include "tests/algorithms/corrections/answers.hpp"

#include <doctest/doctest.h>

namespace masked_test {

using namespace millrace::tests;
using millrace::algorithms::diagnostics;

TEST_CASE("masked keeps a weight inside its interval and makes it nothing outside") {
  diagnostics found;
  const auto answers = answers_with_ratios({0.4, 0.5, 1.9, 2.1}, {2, 2});
  CHECK(largest_difference(weight_of("masked", answers, {{"low", 0.5 - 1e-9}}, found), doubles({0, 0.5, 1.9, 0}))
        < 1e-12);
  CHECK(found.masked == 2);
}

TEST_CASE("masked by the answer: the product of 0.4 and 5 is 2, that of 3 and 1 is 3") {
  const auto answers = answers_with_ratios({0.4, 5, 3, 1}, {2, 2});
  CHECK(largest_difference(weight_of("masked", answers, {{"level", 1}, {"high", 2.5}}), doubles({2, 2, 0, 0})) < 1e-12);
}

TEST_CASE("masked by the geometric mean: that of 0.5 and 2 is 1, that of 9 and 4 is 6") {
  const auto answers = answers_with_ratios({0.5, 2, 9, 4}, {2, 2});
  CHECK(largest_difference(weight_of("masked", answers, {{"level", 2}}), doubles({1, 1, 0, 0})) < 1e-12);
}

} // namespace masked_test
