#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace gspo_test {

using namespace millrace;
using tests::doubles;
using tests::largest_difference;
using tests::losses_of;

namespace {

/// One answer of ratios 2 and 8, geometric mean 4, and one of ratio 1.
algorithms::answer_columns two_answers(double sign) {
  const auto old = at::full({3}, -4.0, at::kDouble);
  return tests::answers_of({2, 1}, old + doubles({2, 8, 1}).log(), old, sign * doubles({1, 1, 1}));
}

} // namespace

TEST_CASE("gspo: the ratio of an answer is the geometric mean of its tokens'") {
  const auto out = losses_of("gspo", two_answers(-1));
  CHECK(largest_difference(out.losses, doubles({4, 4, 1})) < 1e-12);
  // -A s / T over two answers
  CHECK(largest_difference(out.gradient, doubles({1, 1, 0.5})) < 1e-12);
  CHECK(out.found.clipped == 0);
}

TEST_CASE("gspo: a positive answer beyond the clip has no gradient, all its tokens count as clipped") {
  const auto out = losses_of("gspo", two_answers(1), {{"clip_high", 0.5}});
  CHECK(largest_difference(out.losses, doubles({-1.5, -1.5, -1})) < 1e-12);
  CHECK(largest_difference(out.gradient, doubles({0, 0, -0.5})) < 1e-12);
  CHECK(out.found.clipped == 2);
}

TEST_CASE("gspo: the token form has the same gradient under a mean of answers") {
  at::manual_seed(3);
  const auto old = -at::rand({9}, at::kDouble) - 0.1;
  const auto logprob = old + 0.3 * at::randn({9}, at::kDouble);
  const auto advantage = at::randn({3}, at::kDouble).repeat_interleave(at::tensor({2, 3, 4}, at::kLong));
  const auto answers = tests::answers_of({2, 3, 4}, logprob, old, advantage);
  const auto direct = losses_of("gspo", answers, {{"clip_high", 0.1}});
  const auto tokens = losses_of("gspo", answers, {{"clip_high", 0.1}, {"token_form", 1}});
  CHECK(largest_difference(direct.losses, tokens.losses) < 1e-12);
  CHECK(largest_difference(direct.gradient, tokens.gradient) < 1e-12);
  // Under a token mean too: every token of an answer weighs the same.
  CHECK(
      largest_difference(losses_of("gspo", answers, {}, algorithms::aggregation::token_mean).gradient,
                         losses_of("gspo", answers, {{"token_form", 1}}, algorithms::aggregation::token_mean).gradient)
      < 1e-12);
}

} // namespace gspo_test
