#include "algorithms/importance.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace millrace::algorithms;
using millrace::tests::doubles;
using millrace::tests::largest_difference;

TEST_CASE("importance weights are the ratio of probabilities up to the cap") {
  const auto old = doubles({0.6, 0.1, 0.4}).log(), behaviour = doubles({0.3, 0.2, 0.05}).log();
  CHECK(largest_difference(truncated_importance_weight(old, behaviour, 5), doubles({2, 0.5, 5})) < 1e-12);
}

TEST_CASE("a cap of zero turns the correction off") {
  CHECK(at::equal(truncated_importance_weight(doubles({-1}), doubles({-9}), 0), doubles({1})));
}

TEST_CASE("weights carry no gradient and stay finite") {
  const auto old = doubles({0, -500}).requires_grad_();
  const auto w = truncated_importance_weight(old, doubles({-500, 0}), 2);
  CHECK(!w.requires_grad());
  CHECK(w[0].item<double>() == 2);
  CHECK(std::abs(w[1].item<double>() - std::exp(-20)) < 1e-20);
}

TEST_CASE("untruncated weights average to one under the behaviour policy") {
  const auto p = doubles({0.5, 0.3, 0.2}), behaviour = doubles({0.2, 0.2, 0.6});
  CHECK(std::abs((behaviour * truncated_importance_weight(p.log(), behaviour.log(), 1e9)).sum().item<double>() - 1) < 1e-12);
}
