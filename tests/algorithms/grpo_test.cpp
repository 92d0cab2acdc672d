#include "algorithms/algorithm.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace millrace;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

namespace {

at::Tensor advantages(const algorithms::step_columns& step, const std::map<std::string, double>& set = {}) {
  const auto* row = algorithms::find("grpo");
  REQUIRE(row);
  return row->advantages(step, algorithms::option_values(row->options, set));
}

} // namespace

TEST_CASE("grpo: rewards 0, 0, 1, 3 have mean 1 and standard deviation sqrt 2") {
  // squares of the differences: 1 + 1 + 0 + 4 = 6, over n - 1 = 3: variance 2
  const double one = 1 / (std::sqrt(2.0) + 1e-6);
  CHECK(largest_difference(advantages(step_of({{0, 0, 1, 3}}, {1, 2, 1, 1})), doubles({-one, -one, -one, 0, 2 * one})) < 1e-12);
}

TEST_CASE("grpo: without normalisation the advantage is the distance from the mean") {
  CHECK(largest_difference(advantages(step_of({{0, 0, 1, 3}}, {1, 1, 1, 1}), {{"normalise", 0}}), doubles({-1, -1, 0, 2})) < 1e-12);
}

TEST_CASE("grpo: equal rewards and a group of one give exactly nothing") {
  const auto a = advantages(step_of({{0.1, 0.1, 0.1}, {5}, {0, 1}}, {1, 1, 1, 1, 1, 1}));
  CHECK(at::equal(a.narrow(0, 0, 4), at::zeros({4}, at::kDouble)));
  CHECK(a[5].item<double>() > 0.7);
}

TEST_CASE("grpo: advantages of a group sum to zero and follow a permutation of its answers") {
  const auto a = advantages(step_of({{0.3, 0.9, 0.1, 0.4}}, {1, 1, 1, 1}));
  CHECK(std::abs(a.sum().item<double>()) < 1e-12);
  const auto b = advantages(step_of({{0.4, 0.1, 0.9, 0.3}}, {1, 1, 1, 1}));
  CHECK(largest_difference(a.flip(0), b) < 1e-12);
}

TEST_CASE("grpo: a group's advantages do not depend on the other groups") {
  const auto alone = advantages(step_of({{0, 1, 1}}, {1, 1, 1}));
  const auto among = advantages(step_of({{9, -9}, {0, 1, 1}, {2}}, {1, 1, 1, 1, 1, 1}));
  CHECK(largest_difference(alone, among.narrow(0, 2, 3)) < 1e-12);
}
