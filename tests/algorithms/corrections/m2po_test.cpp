#include "tests/algorithms/corrections/answers.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace m2po_test {

using namespace millrace::tests;
using millrace::algorithms::diagnostics;

TEST_CASE("m2po masks the largest squares of the step until the mean of the rest is below the threshold") {
  // d = 0.3, 0.1, 0.5, 0.2: squares 0.09, 0.01, 0.25, 0.04. Means without the largest: 0.0975, 0.0467, 0.025.
  const auto answers = answers_with_ratios({std::exp(0.3), std::exp(-0.1), std::exp(0.5), std::exp(0.2)}, {2, 2});
  diagnostics found;
  CHECK(largest_difference(weight_of("m2po", answers, {}, found), doubles({0, 1, 0, 1})) == 0);
  CHECK(found.masked == 2);
  CHECK(largest_difference(weight_of("m2po", answers, {{"threshold", 0.05}}), doubles({1, 1, 0, 1})) == 0);
  CHECK(largest_difference(weight_of("m2po", answers, {{"threshold", 1e-6}}), doubles({0, 1, 0, 0}))
        == 0); // one always stays
}

TEST_CASE("m2po must see the whole step") {
  CHECK(millrace::algorithms::find_correction("m2po")->sees == millrace::algorithms::scope::step);
}

} // namespace m2po_test
