#include "tests/algorithms/corrections/answers.hpp"

#include <doctest/doctest.h>

namespace aspo_test {

using namespace millrace::tests;
using millrace::algorithms::diagnostics;

TEST_CASE("aspo turns the ratio over where the advantage is positive, up to a cap") {
  auto answers = answers_with_ratios({1, 1, 1, 1}, {4});
  answers.logprob = answers.old_logprob + doubles({0.5, 0.5, 0.25, 1}).log();
  answers.advantage = doubles({1, -1, 1, 1});
  diagnostics found;
  // Times the ratio this makes 2, 0.5 (untouched), 3 (4, capped) and 1.
  CHECK(largest_difference(weight_of("aspo", answers, {}, found), doubles({4, 1, 12, 1})) < 1e-12);
  CHECK(found.truncated == 1);
}

} // namespace aspo_test
