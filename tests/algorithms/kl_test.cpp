#include "algorithms/kl.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace millrace::algorithms;
using millrace::tests::doubles;

TEST_CASE("the three KL estimators at a difference of one") {
  const auto logprob = doubles({-2}), ref = doubles({-1}); // d = 1
  CHECK(kl_term(kl_estimator::k1, logprob, ref).item<double>() == -1);
  CHECK(kl_term(kl_estimator::k2, logprob, ref).item<double>() == 0.5);
  CHECK(std::abs(kl_term(kl_estimator::k3, logprob, ref).item<double>() - (std::exp(1) - 2)) < 1e-15);
}

TEST_CASE("k1 and k3 average to the KL of two distributions, k2 has its gradient") {
  // expectations over p taken exactly, word by word
  const auto p = doubles({0.5, 0.3, 0.2}), q = doubles({0.2, 0.2, 0.6});
  const double kl = (p * (p / q).log()).sum().item<double>();
  CHECK(std::abs((p * kl_term(kl_estimator::k1, p.log(), q.log())).sum().item<double>() - kl) < 1e-12);
  CHECK(std::abs((p * kl_term(kl_estimator::k3, p.log(), q.log())).sum().item<double>() - kl) < 1e-12);

  const auto logits = p.log().clone().requires_grad_();
  const auto log_softmax = logits.log_softmax(0);
  (log_softmax.exp() * (log_softmax - q.log())).sum().backward();
  const auto want = logits.grad().clone();
  logits.mutable_grad().zero_();
  (p * kl_term(kl_estimator::k2, logits.log_softmax(0), q.log())).sum().backward();
  CHECK(millrace::tests::largest_difference(logits.grad(), want) < 1e-12);
}

TEST_CASE("k3 stays finite far from the reference") {
  CHECK(std::isfinite(kl_term(kl_estimator::k3, doubles({-5000}), doubles({0})).item<double>()));
}

TEST_CASE("an unknown estimator is named with the known ones") {
  CHECK(kl_estimator_named("k2") == kl_estimator::k2);
  CHECK_THROWS_WITH(kl_estimator_named("k4"), "KL estimator 'k4': unknown, want k1, k2 or k3");
}
