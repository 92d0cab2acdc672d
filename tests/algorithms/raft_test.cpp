#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

namespace raft_test {

using namespace millrace;
using tests::advantages_of;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

namespace {

/// 8 tokens; the best answers are the second (3 tokens) and, of the other group, nobody above 0.
algorithms::step_columns two_groups() {
  return step_of({{1, 2}, {0, 0}}, {1, 3, 2, 2});
}

} // namespace

TEST_CASE("raft: the best answer of each group that earned something, as a mean over the kept tokens") {
  const double w = 8.0 / 3;
  CHECK(largest_difference(advantages_of("raft", two_groups()), doubles({0, w, w, w, 0, 0, 0, 0})) < 1e-12);
  CHECK(at::equal(advantages_of("raft", two_groups(), {{"over_kept", 0}}), doubles({0, 1, 1, 1, 0, 0, 0, 0})));
}

TEST_CASE("raft: every answer above a threshold, and ties of the best") {
  CHECK(at::equal(advantages_of("raft", two_groups(), {{"best_of_group", 0}}), doubles({2, 2, 2, 2, 0, 0, 0, 0})));
  CHECK(at::equal(advantages_of("raft", two_groups(), {{"threshold", -1}, {"over_kept", 0}}),
                  doubles({0, 1, 1, 1, 1, 1, 1, 1})));
}

TEST_CASE("raft: a step that keeps nothing trains nothing") {
  CHECK(at::equal(advantages_of("raft", two_groups(), {{"threshold", 9}}), at::zeros({8}, at::kDouble)));
}

TEST_CASE("raft: with its weights the step's token mean is supervised training on the kept answers alone") {
  const auto step = two_groups();
  const auto logprob = doubles({-1, -2, -3, -4, -5, -6, -7, -8});
  const auto out =
      tests::losses_of("raft", tests::answers_of({1, 3, 2, 2}, logprob, logprob, advantages_of("raft", step)), {},
                       algorithms::aggregation::token_mean);
  CHECK(out.losses.mean().item<double>() == doctest::Approx(3).epsilon(1e-12)); // (2 + 3 + 4) / 3
  CHECK(largest_difference(out.gradient, doubles({0, -1.0 / 3, -1.0 / 3, -1.0 / 3, 0, 0, 0, 0})) < 1e-12);
}

} // namespace raft_test
