#include "tests/algorithms/corrections/answers.hpp"

#include <doctest/doctest.h>

namespace seq_mask_tis_test {

using namespace millrace::tests;
using millrace::algorithms::diagnostics;

TEST_CASE("seq_mask_tis keeps untruncated weights in answers whose geometric mean is near one") {
  const auto answers = answers_with_ratios({8, 0.125, 2, 1}, {2, 2});
  CHECK(largest_difference(weight_of("seq_mask_tis", answers), doubles({8, 0.125, 0, 0})) < 1e-12);
}

} // namespace seq_mask_tis_test
