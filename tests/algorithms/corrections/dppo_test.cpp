#include "tests/algorithms/corrections/answers.hpp"

#include <doctest/doctest.h>

namespace dppo_test {

using namespace millrace::tests;
using millrace::algorithms::diagnostics;

TEST_CASE("dppo masks by the move of the probability in the direction of the advantage") {
  auto answers = answers_with_ratios({1, 1, 1, 1}, {4});
  answers.behaviour_logprob = doubles({0.5, 0.5, 0.5, 0.01}).log();
  answers.logprob = doubles({0.75, 0.75, 0.25, 0.1}).log(); // moved by 0.25, 0.25, -0.25 and, tenfold, by 0.09
  answers.advantage = doubles({1, -1, -1, 1});
  CHECK(largest_difference(weight_of("dppo", answers), doubles({0, 1, 0, 1})) == 0);
  CHECK(largest_difference(weight_of("dppo", answers, {{"symmetric", 1}}), doubles({0, 0, 0, 1})) == 0);
  CHECK(largest_difference(weight_of("dppo", answers, {{"low", 0.3}, {"high", 0.3}}), doubles({1, 1, 1, 1})) == 0);
}

} // namespace dppo_test
