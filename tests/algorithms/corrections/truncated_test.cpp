#include "algorithms/correction.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace truncated_test {

using namespace millrace::algorithms;
using millrace::tests::doubles;
using millrace::tests::largest_difference;

namespace {

at::Tensor weight(const at::Tensor& old, const at::Tensor& behaviour, double cap, diagnostics& found) {
  answer_columns answers;
  answers.old_logprob = old;
  answers.behaviour_logprob = behaviour;
  answers.length = at::tensor({old.numel()}, at::kLong);
  const correction& row = *find_correction("truncated");
  return row.weight(answers, hyperparameter_values(row.options, {{"cap", cap}}), found);
}

} // namespace

TEST_CASE("importance weights are the ratio of probabilities up to the cap") {
  diagnostics found;
  const auto old = doubles({0.6, 0.1, 0.4}).log(), behaviour = doubles({0.3, 0.2, 0.05}).log();
  CHECK(largest_difference(weight(old, behaviour, 5, found), doubles({2, 0.5, 5})) < 1e-12);
  CHECK(found.truncated == 1);
}

TEST_CASE("weights carry no gradient and stay finite") {
  diagnostics found;
  const auto old = doubles({0, -500}).requires_grad_();
  const auto w = weight(old, doubles({-500, 0}), 2, found);
  CHECK(!w.requires_grad());
  CHECK(w[0].item<double>() == 2);
  CHECK(std::abs(w[1].item<double>() - std::exp(-20)) < 1e-20);
}

TEST_CASE("untruncated weights average to one under the behaviour policy") {
  diagnostics found;
  const auto p = doubles({0.5, 0.3, 0.2}), behaviour = doubles({0.2, 0.2, 0.6});
  CHECK(std::abs((behaviour * weight(p.log(), behaviour.log(), 1e9, found)).sum().item<double>() - 1) < 1e-12);
}

} // namespace truncated_test
