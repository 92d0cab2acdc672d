#include "tests/algorithms/corrections/answers.hpp"

#include <doctest/doctest.h>

namespace veto_test {

using namespace millrace::tests;
using millrace::algorithms::diagnostics;

TEST_CASE("one catastrophic token takes its whole answer along, no other") {
  diagnostics found;
  const auto answers = answers_with_ratios({1, 1e-5, 1, 2, 0.5}, {3, 2});
  CHECK(largest_difference(weight_of("veto", answers, {}, found), doubles({0, 0, 0, 1, 1})) == 0);
  CHECK(found.masked == 3);
}

TEST_CASE("veto has an upper side where it is asked for") {
  const auto answers = answers_with_ratios({1, 101, 99}, {2, 1});
  CHECK(largest_difference(weight_of("veto", answers), doubles({1, 1, 1})) == 0);
  CHECK(largest_difference(weight_of("veto", answers, {{"high", 100}}), doubles({0, 0, 1})) == 0);
}

} // namespace veto_test
