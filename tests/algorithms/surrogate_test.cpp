#include "algorithms/surrogate.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace surrogate_test {

using namespace millrace::algorithms;
using millrace::tests::doubles;
using millrace::tests::largest_difference;

namespace {

/// Ratios 0.5, 1, 1.5 for an advantage of +1 and of -1.
const std::vector<double> ratios = {0.5, 1, 1.5, 0.5, 1, 1.5};
const std::vector<double> signs = {1, 1, 1, -1, -1, -1};

struct outcome {
  at::Tensor loss, gradient;
  diagnostics found;
};

outcome at_ratios(double clip_low, double clip_high, double dual_clip) {
  outcome o;
  const auto old = at::full({6}, -1.0, at::kDouble);
  const auto logprob = (old + doubles(ratios).log()).requires_grad_();
  o.loss = clipped_surrogate(logprob, old, doubles(signs), clip_low, clip_high, dual_clip, o.found);
  o.loss.sum().backward();
  o.gradient = logprob.grad();
  return o;
}

} // namespace

TEST_CASE("the surrogate cuts what would be gained beyond the clip, not what would be lost") {
  const auto o = at_ratios(0.2, 0.3, 0);
  CHECK(largest_difference(o.loss, doubles({-0.5, -1, -1.3, 0.8, 1, 1.5})) < 1e-12);
  CHECK(largest_difference(o.gradient, doubles({-0.5, -1, 0, 0, 1, 1.5})) < 1e-12);
  CHECK(o.found.clipped == 2);
}

TEST_CASE("a dual clip bounds the loss of a negative advantage") {
  const auto o = at_ratios(0.2, 0.3, 1.4);
  CHECK(largest_difference(o.loss, doubles({-0.5, -1, -1.3, 0.8, 1, 1.4})) < 1e-12);
  CHECK(largest_difference(o.gradient, doubles({-0.5, -1, 0, 0, 1, 0})) < 1e-12);
  CHECK(o.found.clipped == 3);
}

TEST_CASE("at ratio one the gradient is the plain policy gradient") {
  const auto logprob = doubles({-0.3, -2}).requires_grad_();
  diagnostics found;
  clipped_surrogate(logprob, logprob.detach(), doubles({0.7, -1.1}), 0.2, 0.2, 3, found).sum().backward();
  CHECK(largest_difference(logprob.grad(), doubles({-0.7, 1.1})) < 1e-12);
  CHECK(found.clipped == 0);
}

TEST_CASE("log-probabilities far apart give a finite loss") {
  diagnostics found;
  const auto loss = clipped_surrogate(doubles({0}), doubles({-5000}), doubles({-1}), 0.2, 0.2, 0, found);
  CHECK(std::isfinite(loss.item<double>()));
}

} // namespace surrogate_test
