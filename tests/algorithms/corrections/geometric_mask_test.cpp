#include "tests/algorithms/corrections/answers.hpp"

#include <doctest/doctest.h>

namespace geometric_mask_test {

using namespace millrace::tests;
using millrace::algorithms::diagnostics;

TEST_CASE("geometric mask keeps a whole answer or nothing of it, without a weight") {
  // Geometric means: sqrt(2 * 0.5) = 1 and sqrt(1.01 * 1.01) = 1.01.
  const auto answers = answers_with_ratios({2, 0.5, 1.01, 1.01}, {2, 2});
  CHECK(largest_difference(weight_of("geometric_mask", answers), doubles({1, 1, 0, 0})) == 0);
  CHECK(largest_difference(weight_of("geometric_mask", answers, {{"high", 1.02}}), doubles({1, 1, 1, 1})) == 0);
}

} // namespace geometric_mask_test
