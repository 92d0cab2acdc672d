#include "algorithms/kl.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace kl_test {

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

TEST_CASE(
    "straight-through and score forms have the value of their estimator and, on average, the gradient of the KL") {
  const auto p = doubles({0.5, 0.3, 0.2}), q = doubles({0.2, 0.2, 0.6});
  const auto logits = p.log().clone().requires_grad_();
  const auto gradient_of = [&](const at::Tensor& expectation) {
    if (logits.grad().defined())
      logits.mutable_grad().zero_();
    expectation.backward();
    return logits.grad().clone();
  };
  const auto log_softmax = logits.log_softmax(0);
  const auto want = gradient_of((log_softmax.exp() * (log_softmax - q.log())).sum());
  using e = kl_estimator;
  for (const auto& [form, base] :
       {std::pair{e::k1_straight, e::k1}, {e::k3_straight, e::k3}, {e::k1_score, e::k1}, {e::k3_score, e::k3}}) {
    CAPTURE(std::string(kl_estimator_words[static_cast<std::size_t>(form)]));
    CHECK(millrace::tests::largest_difference(kl_term(form, p.log(), q.log()), kl_term(base, p.log(), q.log()))
          < 1e-15);
    CHECK(millrace::tests::largest_difference(gradient_of((p * kl_term(form, logits.log_softmax(0), q.log())).sum()),
                                              want)
          < 1e-12);
  }
  // k2 is biased, so is its score form: value d^2 / 2, slope d + d^2 / 2 for d = 1
  const auto one = doubles({-1}).requires_grad_();
  kl_term(e::k2_score, one, doubles({-2})).sum().backward();
  CHECK(one.grad().item<double>() == 1.5);
}

TEST_CASE("beyond a clamp the estimate stays and the gradient is gone") {
  for (const auto estimator : {kl_estimator::k1, kl_estimator::k2, kl_estimator::k3, kl_estimator::k3_score}) {
    const auto logprob = doubles({-9, -9}).requires_grad_();
    const auto bounded = kl_term(estimator, logprob, doubles({-4, -8}), {.input = 2});
    CHECK(bounded[0].item<double>()
          == doctest::Approx(kl_term(estimator, doubles({-2}), doubles({0})).item<double>()).epsilon(1e-12));
    bounded.sum().backward();
    CHECK(logprob.grad()[0].item<double>() == 0);
    CHECK(logprob.grad()[1].item<double>() != 0);
  }
  const auto logprob = doubles({-9, -1}).requires_grad_();
  const auto bounded = kl_term(kl_estimator::k2, logprob, doubles({0, 0}), {.output = 10});
  CHECK(millrace::tests::largest_difference(bounded, doubles({10, 0.5})) < 1e-15);
  bounded.sum().backward();
  CHECK(millrace::tests::largest_difference(logprob.grad(), doubles({0, -1})) < 1e-15);
}

TEST_CASE("k3 stays finite far from the reference") {
  CHECK(std::isfinite(kl_term(kl_estimator::k3, doubles({-5000}), doubles({0})).item<double>()));
}

TEST_CASE("an unknown estimator is named with the known ones") {
  CHECK(kl_estimator_named("k2") == kl_estimator::k2);
  CHECK_THROWS_WITH(kl_estimator_named("k4"),
                    "KL estimator 'k4': unknown, want k1, k2, k3, k1+, k3+, k1_score, k2_score or k3_score");
  for (std::size_t i = 0; i < kl_estimator_words.size(); ++i)
    CHECK(kl_estimator_named(kl_estimator_words[i]) == static_cast<kl_estimator>(i));
}

} // namespace kl_test
