#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

namespace dr_grpo_test {

using namespace millrace;
using tests::advantages_of;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

TEST_CASE("dr_grpo: the distance from the group's mean, undivided") {
  CHECK(largest_difference(advantages_of("dr_grpo", step_of({{0, 0, 1, 3}}, {1, 2, 1, 1})), doubles({-1, -1, -1, 0, 2}))
        < 1e-12);
}

TEST_CASE("dr_grpo: an answer's losses are summed, whatever its length, over a fixed one") {
  CHECK(algorithms::find("dr_grpo")->how == algorithms::aggregation::fixed_length);
  // ratio 1: every token of both answers has the gradient -A / answers
  const auto answers =
      tests::answers_of({1, 3}, doubles({-1, -2, -2, -2}), doubles({-1, -2, -2, -2}), doubles({1, -1, -1, -1}));
  const auto out = tests::losses_of("dr_grpo", answers, {}, algorithms::aggregation::fixed_length);
  CHECK(largest_difference(out.gradient, doubles({-0.5, 0.5, 0.5, 0.5})) < 1e-12);
}

TEST_CASE("dr_grpo: equal rewards give exactly nothing, and advantages of a group sum to zero") {
  CHECK(
      at::equal(advantages_of("dr_grpo", step_of({{0.1, 0.1, 0.1}, {5}}, {1, 1, 1, 1})), at::zeros({4}, at::kDouble)));
  CHECK(std::abs(advantages_of("dr_grpo", step_of({{0.3, 0.9, 0.1}}, {1, 1, 1})).sum().item<double>()) < 1e-12);
}

} // namespace dr_grpo_test
