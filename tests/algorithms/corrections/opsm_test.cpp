#include "tests/algorithms/corrections/answers.hpp"

#include <doctest/doctest.h>

namespace opsm_test {

using namespace millrace::tests;
using millrace::algorithms::diagnostics;

TEST_CASE("opsm drops a bad answer that the policy moved away from, and only that") {
  auto answers = answers_with_ratios({0.5, 0.5, 0.5, 2}, {1, 1, 1, 1}); // current below behaviour three times
  answers.advantage = doubles({-1, 1, 0, -1});
  CHECK(largest_difference(weight_of("opsm", answers), doubles({0, 1, 1, 1})) == 0);
  CHECK(largest_difference(weight_of("opsm", answers, {{"delta", 0.7}}), doubles({1, 1, 1, 1})) == 0); // log 2 = 0.693
  CHECK(largest_difference(weight_of("opsm", answers, {{"policy", 1}}), doubles({1, 1, 1, 1})) == 0);  // current is old
}

TEST_CASE("opsm looks at the mean over the answer") {
  auto answers = answers_with_ratios({0.5, 4}, {2});
  answers.advantage = doubles({-1, -1});
  CHECK(largest_difference(weight_of("opsm", answers), doubles({1, 1})) == 0);
}

} // namespace opsm_test
