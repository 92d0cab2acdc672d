#include "algorithms/algorithm.hpp"
#include "algorithms/gae.hpp"
#include "algorithms/vtrace_targets.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace vtrace_test {

using namespace millrace::algorithms;
using millrace::tests::doubles;
using millrace::tests::largest_difference;
using millrace::tests::step_of;

namespace {

step_columns two_tokens() {
  step_columns step = step_of({{1}}, {2});
  step.value = doubles({0.5, 0.25});
  step.old_logprob = step.behaviour_logprob + doubles({0.5, 4}).log();
  return step;
}

at::Tensor advantages(const step_columns& step, const std::map<std::string, double>& set = {}) {
  const algorithm& row = *find("vtrace");
  return row.advantages(step, hyperparameter_values(row.options, set));
}

} // namespace

TEST_CASE("V-trace by hand") {
  // Last token: weight 4, cut to 1: v = 0.25 + (1 - 0.25) = 1, A = 1 - 0.25. First: weight 0.5:
  // v = 0.5 + 0.5 (0.25 - 0.5) + 0.5 (1 - 0.25) = 0.75, A = 0.5 (1 - 0.5) = 0.25.
  CHECK(largest_difference(advantages(two_tokens()), doubles({0.25, 0.75})) < 1e-12);
  const auto targets =
      trace_values(doubles({0.5, 4}).log(), doubles({0, 1}), doubles({0.5, 0.25}), at::tensor({2}, at::kLong), 1, {});
  CHECK(largest_difference(targets.values, doubles({0.75, 1})) < 1e-12);
}

TEST_CASE("caps of V-trace: two on the last token doubles its difference") {
  // v = 0.25 + 2 (0.75) = 1.75, A = 2 (0.75); first: A = 0.5 (1.75 - 0.5).
  CHECK(largest_difference(advantages(two_tokens(), {{"rho_bar", 2}, {"pg_rho_bar", 2}}), doubles({0.625, 1.5}))
        < 1e-12);
}

TEST_CASE("on-policy V-trace is GAE with lambda 1") {
  step_columns step = step_of({{1, 0, 2}}, {3, 0, 4});
  at::manual_seed(3);
  step.value = at::randn({7}, at::kDouble);
  step.old_logprob = step.behaviour_logprob;
  const auto want = generalised_advantages(doubles({0, 0, 1, 0, 0, 0, 2}), step.value, step.length, 0.9, 1);
  CHECK(largest_difference(advantages(step, {{"gamma", 0.9}}), want.advantages) < 1e-12);
}

TEST_CASE("V-trace names the column it misses") {
  step_columns step = two_tokens();
  step.value = at::Tensor();
  CHECK_THROWS_WITH_AS(advantages(step), doctest::Contains("value: missing"), c10::Error);
  step = two_tokens();
  step.old_logprob = at::Tensor();
  CHECK_THROWS_WITH_AS(advantages(step), doctest::Contains("old_logprob: missing"), c10::Error);
}

} // namespace vtrace_test
