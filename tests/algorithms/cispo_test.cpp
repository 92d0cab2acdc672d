#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace cispo_test {

using namespace millrace;
using tests::doubles;
using tests::largest_difference;
using tests::losses_of;

TEST_CASE("cispo: the cut ratio is a weight, and no token loses its gradient") {
  const auto old = at::full({3}, -2.0, at::kDouble);
  const auto answers = tests::answers_of({3}, old + doubles({0.25, 2, 8}).log(), old, doubles({1, -1, 2}));
  const auto out = losses_of("cispo", answers, {{"clip_high", 3}}, algorithms::aggregation::fixed_length);
  CHECK(largest_difference(out.gradient, doubles({-0.25, 2, -8})) < 1e-12); // 8 is cut to 4, times an advantage of 2
  CHECK(largest_difference(out.losses, out.gradient * answers.logprob.detach()) < 1e-12);
  CHECK(out.found.clipped == 1);
}

TEST_CASE("cispo: a floor under the weight") {
  const auto answers = tests::answers_of({1}, doubles({-3}), doubles({-1}), doubles({1}));
  CHECK(largest_difference(losses_of("cispo", answers, {{"clip_low", 0.2}}).gradient, doubles({-0.8})) < 1e-12);
  CHECK(largest_difference(losses_of("cispo", answers).gradient, doubles({-std::exp(-2)})) < 1e-12);
}

} // namespace cispo_test
