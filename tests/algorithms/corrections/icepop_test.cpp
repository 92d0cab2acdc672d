#include "tests/algorithms/corrections/answers.hpp"

#include <doctest/doctest.h>

namespace icepop_test {

using namespace millrace::tests;
using millrace::algorithms::diagnostics;

TEST_CASE("icepop drops a token on either side and keeps the weight of the others") {
  diagnostics found;
  const auto answers = answers_with_ratios({0.49, 0.51, 4.9, 5.1}, {4});
  CHECK(largest_difference(weight_of("icepop", answers, {}, found), doubles({0, 0.51, 4.9, 0})) < 1e-12);
  CHECK(found.masked == 2);
}

} // namespace icepop_test
