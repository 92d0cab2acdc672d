#include "algorithms/value_loss.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace value_loss_test {

using namespace millrace::algorithms;
using millrace::tests::doubles;
using millrace::tests::largest_difference;

TEST_CASE("value_loss: half the squared error, and the clip keeps the larger of the two") {
  // V 3, V_old 1, c 0.5: the clipped value is 1.5. G 2: 1 against 0.25. G 4: 1 against 6.25, and no gradient.
  value_diagnostics found;
  const auto value = doubles({3, 3}).requires_grad_();
  const auto loss = value_loss(value, doubles({1, 1}), doubles({2, 4}), 0.5, found);
  CHECK(largest_difference(loss, doubles({0.5, 3.125})) < 1e-15);
  loss.sum().backward();
  CHECK(largest_difference(value.grad(), doubles({1, 0})) < 1e-15);
  CHECK(found.tokens == 2);
  CHECK(found.clipped == 1);
  // mean squared error 1, variance of the returns 1
  CHECK(found.explained_variance() == doctest::Approx(0));
}

TEST_CASE("value_loss: without a clip the old value does not matter") {
  value_diagnostics found;
  CHECK(largest_difference(value_loss(doubles({3}), doubles({-100}), doubles({1}), 0, found), doubles({2})) < 1e-15);
  CHECK(found.clipped == 0);
}

TEST_CASE("value_loss: the gradient equals finite differences on both sides of the clip") {
  const auto old = doubles({0, 0, 0, 0}), returns = doubles({1, -1, 0.1, 3});
  const auto at_value = [&](const at::Tensor& v) {
    value_diagnostics found;
    return value_loss(v, old, returns, 0.2, found).sum();
  };
  const auto value = doubles({0.5, 0.5, 0.05, -0.7}).requires_grad_();
  at_value(value).backward();
  for (std::int64_t i = 0; i < 4; ++i) {
    auto up = value.detach().clone(), down = value.detach().clone();
    up[i] += 1e-6;
    down[i] -= 1e-6;
    const double slope = (at_value(up) - at_value(down)).item<double>() / 2e-6;
    CHECK(std::abs(slope - value.grad()[i].item<double>()) < 1e-8);
  }
}

TEST_CASE("value_loss: micro-batches' figures add up") {
  value_diagnostics whole, parts, second;
  const auto v = doubles({1, 2, 3}), g = doubles({0, 2, 5});
  value_loss(v, v, g, 0.2, whole);
  value_loss(v.narrow(0, 0, 1), v.narrow(0, 0, 1), g.narrow(0, 0, 1), 0.2, parts);
  value_loss(v.narrow(0, 1, 2), v.narrow(0, 1, 2), g.narrow(0, 1, 2), 0.2, second);
  parts += second;
  CHECK(parts.explained_variance() == doctest::Approx(whole.explained_variance()).epsilon(1e-12));
}

} // namespace value_loss_test
