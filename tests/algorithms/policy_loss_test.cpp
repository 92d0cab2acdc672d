#include "algorithms/policy_loss.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace policy_loss_test {

using namespace millrace;
using namespace millrace::algorithms;
using tests::doubles;
using tests::largest_difference;

namespace {

answer_columns random_answers(std::int64_t seed) {
  at::manual_seed(seed);
  answer_columns a;
  a.length = at::tensor({3, 1, 4}, at::kLong);
  a.reward = at::tensor({1.0, 0.0, 1.0}, at::kDouble);
  a.group = at::tensor({0, 0, 1}, at::kLong);
  a.group_tokens = at::tensor({4, 4, 4}, at::kLong);
  a.old_logprob = -at::rand({8}, at::kDouble) - 0.1;
  a.behaviour_logprob = a.old_logprob + 0.5 * at::randn({8}, at::kDouble);
  a.ref_logprob = a.old_logprob + 0.5 * at::randn({8}, at::kDouble);
  a.advantage = at::randn({8}, at::kDouble);
  a.logprob = (a.old_logprob + 0.5 * at::randn({8}, at::kDouble)).requires_grad_();
  a.score = at::randn({3}, at::kDouble);
  return a;
}

loss_options with(aggregation how, double kl_coefficient, kl_estimator kl, double cap) {
  const correction& truncated = *find_correction("truncated");
  return {.how = how,
          .kl_coefficient = kl_coefficient,
          .kl = kl,
          .corrections = {{&truncated, hyperparameter_values(truncated.options, {{"cap", cap}})}}};
}

double loss_of(const algorithm& row, const loss_options& options, const answer_columns& answers, diagnostics& found) {
  return policy_loss(row, hyperparameter_values(row.options), options, answers, {8, 3, 2}, found).item<double>();
}

} // namespace

TEST_CASE("one token redone by hand: weight 2, ratio 1, advantage 3, k2 of a difference of one") {
  answer_columns a;
  a.length = at::tensor({1}, at::kLong);
  a.logprob = doubles({-1}).requires_grad_();
  a.old_logprob = doubles({-1});
  a.behaviour_logprob = doubles({-1 - std::log(2)});
  a.ref_logprob = doubles({-2});
  a.advantage = doubles({3});
  diagnostics found;
  const loss_options options = with(aggregation::token_mean, 0.1, kl_estimator::k2, 5);
  const algorithm& row = *find("grpo");
  const at::Tensor loss = policy_loss(row, hyperparameter_values(row.options), options, a, {1, 1, 1}, found);
  CHECK(loss.item<double>() == doctest::Approx(-2 * 3 + 0.1 * 0.5).epsilon(1e-12));
  loss.backward();
  CHECK(a.logprob.grad().item<double>() == doctest::Approx(-2 * 3 + 0.1 * 1).epsilon(1e-12));
  CHECK(found.tokens == 1);
  CHECK(found.mean_weight() == doctest::Approx(2).epsilon(1e-12));
  CHECK(found.kl_k1() == doctest::Approx(-std::log(2)).epsilon(1e-12));
  CHECK(found.kl_k3() == doctest::Approx(2 - std::log(2) - 1).epsilon(1e-12));
  CHECK(found.mean_reference_kl() == doctest::Approx(0.5).epsilon(1e-12));
  CHECK(found.effective_sample_fraction() == doctest::Approx(1).epsilon(1e-12));
}

TEST_CASE("gradients equal finite differences for every algorithm, aggregation and estimator") {
  constexpr double step = 1e-6;
  const auto has_detached_factor = [](const algorithm& row) {
    return row.name == "cispo" || row.name == "topr" || row.name == "drpo";
  };
  for (const algorithm* row : all())
    for (const auto how : {aggregation::token_mean, aggregation::sequence_mean})
      for (const auto kl : {kl_estimator::k1, kl_estimator::k2, kl_estimator::k3}) {
        if (has_detached_factor(*row)) // a slope is not its gradient
          continue;
        CAPTURE(std::string(row->name));
        const loss_options options = with(how, 0.3, kl, 1.2);
        answer_columns a = random_answers(4);
        diagnostics found;
        policy_loss(*row, hyperparameter_values(row->options), options, a, {8, 3, 2}, found).backward();
        const at::Tensor gradient = a.logprob.grad();
        const at::Tensor where = a.logprob.detach();
        for (std::int64_t i = 0; i < 8; ++i) {
          const auto moved = [&](double by) {
            answer_columns b = a;
            b.logprob = where.clone();
            b.logprob[i] += by;
            return loss_of(*row, options, b, found);
          };
          CHECK(std::abs((moved(step) - moved(-step)) / (2 * step) - gradient[i].item<double>()) < 1e-8);
        }
      }
}

TEST_CASE("answers taken one at a time add up to the whole, loss and diagnostics") {
  const answer_columns a = random_answers(9);
  for (const auto how : {aggregation::token_mean, aggregation::sequence_mean}) {
    const loss_options options = with(how, 0.3, kl_estimator::k3, 1.2);
    diagnostics whole, parts;
    const double want = loss_of(*find("grpo"), options, a, whole);
    double got = 0;
    for (std::int64_t i = 0, begin = 0; i < 3; ++i) {
      const auto n = a.length[i].item<std::int64_t>();
      const auto part = [&](const at::Tensor& x) { return x.narrow(0, begin, n); };
      diagnostics found;
      answer_columns b = a;
      for (at::Tensor* x : {&b.logprob, &b.old_logprob, &b.behaviour_logprob, &b.ref_logprob, &b.advantage})
        *x = part(*x);
      for (at::Tensor* x : {&b.length, &b.reward, &b.group, &b.group_tokens})
        *x = x->narrow(0, i, 1);
      got += loss_of(*find("grpo"), options, b, found);
      parts += found;
      begin += n;
    }
    CHECK(std::abs(got - want) < 1e-12);
    CHECK(parts.tokens == whole.tokens);
    CHECK(parts.clipped == whole.clipped);
    CHECK(parts.truncated == whole.truncated);
    CHECK(std::abs(parts.kl_k3() - whole.kl_k3()) < 1e-12);
    CHECK(std::abs(parts.effective_sample_fraction() - whole.effective_sample_fraction()) < 1e-12);
    CHECK(parts.largest_weight == whole.largest_weight);
  }
}

TEST_CASE("no tokens: loss zero, gradient empty, figures defined") {
  answer_columns a;
  a.length = at::tensor({0}, at::kLong);
  a.logprob = at::empty({0}, at::kDouble).requires_grad_();
  a.old_logprob = a.behaviour_logprob = a.advantage = at::empty({0}, at::kDouble);
  diagnostics found;
  CHECK(loss_of(*find("rloo"), {}, a, found) == 0);
  CHECK(found.clip_fraction() == 0);
  CHECK(found.effective_sample_fraction() == 1);
}

TEST_CASE("a KL term without a reference is refused by the column's name") {
  answer_columns a = random_answers(1);
  a.ref_logprob = at::Tensor();
  diagnostics found;
  CHECK_THROWS_WITH_AS(loss_of(*find("grpo"), with(aggregation::token_mean, 0.1, kl_estimator::k3, 2), a, found),
                       doctest::Contains("ref_logprob"), c10::Error);
}

TEST_CASE("a token that is too old leaves its loss out and stays in the denominator") {
  // Ratio 1 everywhere: the gradient of a trained token is -A / N, with N of all four tokens.
  answer_columns a;
  a.length = at::tensor({3, 1}, at::kLong);
  a.reward = doubles({1, 0});
  a.group = at::tensor({0, 0}, at::kLong);
  a.group_tokens = at::tensor({4, 4}, at::kLong);
  a.logprob = doubles({-1, -2, -3, -1}).requires_grad_();
  a.old_logprob = doubles({-1, -2, -3, -1});
  a.behaviour_logprob = doubles({-1 - std::log(2), -2, -3, -1 + std::log(2)});
  a.ref_logprob = doubles({-2, -2, -2, -2});
  a.advantage = doubles({1, 2, 3, 4});
  a.version = at::tensor({3, 4, 4, 1}, at::kLong);
  a.policy_version = 5;
  a.trains = at::tensor({0, 1, 1, 1}, at::kByte).to(at::kBool);
  const loss_options options{.how = aggregation::token_mean, .kl_coefficient = 0.4, .kl = kl_estimator::k2};
  const algorithm& row = *find("grpo");
  diagnostics found;
  const at::Tensor loss = policy_loss(row, hyperparameter_values(row.options), options, a, {4, 2, 1}, found);
  // -2 - 3 - 4 of the surrogate, 0.4 (0 + 0.5 + 0.5) of the KL; the first token would have added -1 + 0.2
  CHECK(loss.item<double>() == doctest::Approx((-9 + 0.4) / 4).epsilon(1e-12));
  loss.backward();
  CHECK(largest_difference(a.logprob.grad(), doubles({0, -2.0 / 4, (-3 - 0.4) / 4, (-4 + 0.4) / 4})) < 1e-12);
  observe_entropy(a, doubles({9, 1, 3, 5}), found);
  // By age: two tokens are 1 old, one is 4; the first has no part in it.
  CHECK(found.by_age[2].tokens == 0);
  CHECK(found.by_age[1].tokens == 2);
  CHECK(found.by_age[1].ratio == doctest::Approx(2));
  CHECK(found.by_age[1].entropy == doctest::Approx(4));
  CHECK(found.by_age[3].tokens == 1);
  CHECK(found.by_age[3].ratio == doctest::Approx(0.5));
  CHECK(found.by_age[3].largest_ratio == doctest::Approx(0.5));
  CHECK(found.by_age[3].k1 == doctest::Approx(std::log(2)));
  CHECK(found.by_age[3].k3 == doctest::Approx(0.5 + std::log(2) - 1));
}

TEST_CASE("a loss of whole answers does not move tokens that are too old") {
  auto a = random_answers(5);
  a.trains = at::tensor({1, 0, 1, 1, 0, 1, 1, 1}, at::kByte).to(at::kBool);
  for (const char* name : {"gspo", "gmpo", "grpo", "cispo"}) {
    CAPTURE(name);
    a.logprob = a.logprob.detach().requires_grad_();
    diagnostics found;
    const algorithm& row = *find(name);
    policy_loss(row, hyperparameter_values(row.options), {}, a, {8, 3, 2}, found).backward();
    CHECK(a.logprob.grad()[1].item<double>() == 0);
    CHECK(a.logprob.grad()[4].item<double>() == 0);
    CHECK(a.logprob.grad().abs().sum().item<double>() > 0);
  }
}

} // namespace policy_loss_test
