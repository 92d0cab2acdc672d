#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace dapo_test {

using namespace millrace;
using tests::advantages_of;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

namespace {

/// The advantage of each answer's first token.
at::Tensor of_answers(const algorithms::step_columns& step, const std::map<std::string, double>& set) {
  const auto first = step.length.cumsum(0) - step.length;
  return advantages_of("dapo", step, set).index_select(0, first);
}

} // namespace

TEST_CASE(
    "dapo: answers in the last tokens before the limit lose part of their reward, longer ones all of the factor") {
  // limit 16, buffer 4: punishments 0, 0.5, 1, 1 off rewards of 1; mean 0.375
  const auto step = step_of({{1, 1, 1, 1}}, {12, 14, 16, 20});
  CHECK(largest_difference(of_answers(step, {{"max_length", 16}, {"overlong_buffer", 4}, {"normalise", 0}}),
                           doubles({0.625, 0.125, -0.375, -0.375}))
        < 1e-12);
  CHECK(largest_difference(
            of_answers(step, {{"max_length", 16}, {"overlong_buffer", 4}, {"overlong_factor", 2}, {"normalise", 0}}),
            doubles({1.25, 0.25, -0.75, -0.75}))
        < 1e-12);
}

TEST_CASE("dapo: without a buffer the punishment comes at once, without a limit there is none") {
  const auto step = step_of({{1, 1}}, {16, 17});
  CHECK(largest_difference(of_answers(step, {{"max_length", 16}, {"normalise", 0}}), doubles({0.5, -0.5})) < 1e-12);
  CHECK(at::equal(of_answers(step, {}), at::zeros({2}, at::kDouble)));
}

TEST_CASE("dapo: the upper clip is 1.28, the lower 0.8") {
  const auto old = at::full({4}, -1.0, at::kDouble);
  const auto answers =
      tests::answers_of({4}, old + doubles({1.25, 1.3, 0.85, 0.75}).log(), old, doubles({1, 1, -1, -1}));
  const auto out = tests::losses_of("dapo", answers, {}, algorithms::aggregation::token_mean);
  CHECK(largest_difference(out.losses, doubles({-1.25, -1.28, 0.85, 0.8})) < 1e-12);
  CHECK(out.found.clipped == 2);
}

} // namespace dapo_test
