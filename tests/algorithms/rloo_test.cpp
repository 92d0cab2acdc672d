#include "algorithms/algorithm.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace millrace;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

namespace {

at::Tensor advantages(const algorithms::step_columns& step) {
  const auto* row = algorithms::find("rloo");
  REQUIRE(row);
  return row->advantages(step, algorithms::option_values(row->options));
}

} // namespace

TEST_CASE("rloo: each reward less the mean of the others") {
  // 6 - (0 + 3) / 2 = 4.5; 0 - (6 + 3) / 2 = -4.5; 3 - (6 + 0) / 2 = 0
  CHECK(largest_difference(advantages(step_of({{6, 0, 3}}, {2, 1, 1})), doubles({4.5, 4.5, -4.5, 0})) < 1e-12);
}

TEST_CASE("rloo: equal rewards and a group of one give exactly nothing") {
  CHECK(at::equal(advantages(step_of({{0.1, 0.1, 0.1}, {5}}, {1, 1, 1, 1})), at::zeros({4}, at::kDouble)));
}

TEST_CASE("rloo: advantages of a group sum to zero") {
  CHECK(std::abs(advantages(step_of({{0.3, 0.9, 0.1, 0.4}}, {1, 1, 1, 1})).sum().item<double>()) < 1e-12);
}
