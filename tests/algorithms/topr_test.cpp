#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace topr_test {

using namespace millrace;
using tests::advantages_of;
using tests::doubles;
using tests::largest_difference;
using tests::losses_of;
using tests::step_of;

namespace {

/// A good answer; a bad one that the policy has left, ratios 0.5 and 0.5; a bad one that it likes more, ratio 4.
algorithms::answer_columns three_answers() {
  const auto behaviour = at::full({4}, -3.0, at::kDouble);
  return tests::answers_of({1, 2, 1}, behaviour + doubles({16, 0.5, 0.5, 4}).log(), behaviour,
                           doubles({1, -1, -1, -1}));
}

} // namespace

TEST_CASE("topr: good answers weigh 1 however stale, bad ones as much as the policy still gives them, at most 1") {
  const auto out = losses_of("topr", three_answers(), {}, algorithms::aggregation::token_mean);
  CHECK(largest_difference(out.gradient * 4, doubles({-1, 0.25, 0.25, 1})) < 1e-12);
  CHECK(out.found.truncated == 1);
}

TEST_CASE("topr: ratios of tokens, weights and the cap are options") {
  const auto tokens =
      losses_of("topr", three_answers(), {{"token_ratio", 1}, {"cap", 2}}, algorithms::aggregation::token_mean);
  CHECK(largest_difference(tokens.gradient * 4, doubles({-1, 0.5, 0.5, 2})) < 1e-12);
  const auto weighed = losses_of("topr", three_answers(), {{"positive_weight", 3}, {"negative_weight", 2}},
                                 algorithms::aggregation::token_mean);
  CHECK(largest_difference(weighed.gradient * 4, doubles({-3, 0.5, 0.5, 2})) < 1e-12);
}

TEST_CASE("topr: the advantage is the reward, less a baseline and, on wish, the group's mean") {
  const auto step = step_of({{0, 1}, {1, 1}}, {1, 1, 1, 1});
  CHECK(largest_difference(advantages_of("topr", step), doubles({0, 1, 1, 1})) < 1e-12);
  CHECK(largest_difference(advantages_of("topr", step, {{"baseline", 0.5}}), doubles({-0.5, 0.5, 0.5, 0.5})) < 1e-12);
  CHECK(at::equal(advantages_of("topr", step, {{"centre", 1}}), doubles({-0.5, 0.5, 0, 0})));
}

} // namespace topr_test
