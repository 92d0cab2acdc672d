#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

namespace sft_test {

using namespace millrace;
using tests::doubles;
using tests::largest_difference;

TEST_CASE("sft: minus the log-probability of each answer token, the same gradient for all") {
  const auto out = tests::losses_of(
      "sft", tests::answers_of({1, 3}, doubles({-1, -2, -3, -4}), doubles({0, 0, 0, 0}), doubles({1, 1, 1, 1})), {},
      algorithms::aggregation::token_mean);
  CHECK(largest_difference(out.losses, doubles({1, 2, 3, 4})) == 0);
  CHECK(largest_difference(out.gradient, doubles({-0.25, -0.25, -0.25, -0.25})) == 0);
}

TEST_CASE("sft: takes no notice of rewards") {
  CHECK(at::equal(tests::advantages_of("sft", tests::step_of({{0, 3}}, {1, 2})), doubles({1, 1, 1})));
}

} // namespace sft_test
