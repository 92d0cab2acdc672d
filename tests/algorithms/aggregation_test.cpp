#include "algorithms/aggregation.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

namespace aggregation_test {

using namespace millrace::algorithms;
using millrace::tests::doubles;

TEST_CASE("token mean weighs tokens alike, sequence mean weighs answers alike") {
  const auto losses = doubles({1, 2, 3, 10});
  const auto length = at::tensor({3, 0, 1}, at::kLong);
  CHECK(aggregate(aggregation::token_mean, losses, length, {}, {4, 2, 2}, 1).item<double>() == 4);    // 16 / 4
  CHECK(aggregate(aggregation::sequence_mean, losses, length, {}, {4, 2, 2}, 1).item<double>() == 6); // (2 + 10) / 2
}

TEST_CASE("micro-batches add up to the step") {
  const step_totals totals{4, 2, 2};
  for (const auto how : {aggregation::token_mean, aggregation::sequence_mean}) {
    const double whole =
        aggregate(how, doubles({1, 2, 3, 10}), at::tensor({3, 1}, at::kLong), {}, totals, 1).item<double>();
    const double parts = aggregate(how, doubles({1, 2, 3}), at::tensor({3}, at::kLong), {}, totals, 1).item<double>()
                         + aggregate(how, doubles({10}), at::tensor({1}, at::kLong), {}, totals, 1).item<double>();
    CHECK(whole == doctest::Approx(parts).epsilon(1e-14));
  }
}

TEST_CASE("a fixed length divides by a constant, the group mean weighs groups alike") {
  const auto losses = doubles({1, 2, 3, 10});
  const auto length = at::tensor({1, 1, 2}, at::kLong);
  CHECK(aggregate(aggregation::fixed_length, losses, length, {}, {4, 3, 2}, 8).item<double>() == 16.0 / 24);
  // One group of answers 1 and 2, (1 + 2) / 2, another of answer 3, (3 + 10) / 2.
  CHECK(
      aggregate(aggregation::group_mean, losses, length, at::tensor({2, 2, 2}, at::kLong), {4, 3, 2}, 1).item<double>()
      == 4);
}

TEST_CASE("a step without tokens has loss zero") {
  const auto none = at::empty({0}, at::kDouble);
  CHECK(aggregate(aggregation::token_mean, none, at::tensor({0}, at::kLong), {}, {}, 1).item<double>() == 0);
  CHECK(aggregate(aggregation::sequence_mean, none, at::tensor({0}, at::kLong), {}, {}, 1).item<double>() == 0);
}

TEST_CASE("an unknown aggregation is named with the known ones") {
  CHECK(aggregation_named("sequence_mean") == aggregation::sequence_mean);
  CHECK_THROWS_WITH(aggregation_named("mean"),
                    "aggregation 'mean': unknown, want token_mean, sequence_mean, fixed_length or group_mean");
}

} // namespace aggregation_test
