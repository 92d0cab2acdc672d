#include "algorithms/anchor.hpp"
#include "algorithms/policy_loss.hpp"
#include "algorithms/vtrace_targets.hpp"
#include "tests/algorithms/corrections/answers.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <random>

namespace every_correction_test {

using namespace millrace::algorithms;
using namespace millrace::tests;

namespace {

at::Tensor numbers(const nlohmann::json& values) {
  return at::tensor(values.get<std::vector<double>>(), at::kDouble);
}

at::Tensor integers(const nlohmann::json& values) {
  return at::tensor(values.get<std::vector<std::int64_t>>(), at::kLong);
}

/// Made by tests/golden/make_correction_goldens.py.
const nlohmann::json& goldens() {
  static const nlohmann::json all = nlohmann::json::parse(std::ifstream("tests/golden/corrections.json"));
  return all;
}

answer_columns answers_of(const nlohmann::json& batch) {
  answer_columns answers;
  answers.length = integers(batch["length"]);
  answers.behaviour_logprob = numbers(batch["behaviour"]);
  answers.old_logprob = numbers(batch["old"]);
  answers.logprob = numbers(batch["logprob"]);
  answers.advantage = numbers(batch["advantage"]);
  answers.version = integers(batch["version"]);
  return answers;
}

/// An answer as one number, in base 3, and its log-probability under a chain of two tokens out of three.
double logprob_of(int answer, const double (&first)[3], const double (&second)[3][3]) {
  return std::log(first[answer / 3]) + std::log(second[answer / 3][answer % 3]);
}

} // namespace

TEST_CASE("every correction equals the functions of other programs") {
  for (const auto& golden : goldens()["cases"]) {
    const auto name = golden["correction"].get<std::string>();
    CAPTURE(name);
    CAPTURE(golden["source"].get<std::string>());
    CAPTURE(golden["options"].dump());
    CAPTURE(golden["batch"].get<int>());
    const answer_columns answers = answers_of(goldens()["batches"][golden["batch"].get<std::size_t>()]);
    const at::Tensor want = numbers(golden["weight"]);
    const at::Tensor got = weight_of(name.c_str(), answers, golden["options"].get<std::map<std::string, double>>());
    CHECK(((got - want).abs() / want.abs().clamp_min(1)).max().item<double>() < 1e-6);
  }
  CHECK(goldens()["cases"].size() > 90);
}

TEST_CASE("every correction has a golden value") {
  for (const correction* row : all_corrections()) {
    const auto& cases = goldens()["cases"];
    CAPTURE(std::string(row->name));
    CHECK(std::any_of(cases.begin(), cases.end(),
                      [&](const auto& c) { return c["correction"] == std::string(row->name); }));
  }
}

TEST_CASE("on-policy tokens weigh one under every correction and preset") {
  answer_columns answers = answers_with_ratios({1, 1, 1, 1, 1}, {2, 0, 3});
  answers.advantage = doubles({1, -1, 0, 2, -2});
  diagnostics found;
  for (const correction* row : all_corrections()) {
    CAPTURE(std::string(row->name));
    CHECK(largest_difference(weight_of(std::string(row->name).c_str(), answers, {}, found), at::ones({5}, at::kDouble))
          == 0);
    for (const preset& p : row->presets) {
      std::map<std::string, double> set;
      for (const auto& s : p.settings)
        set.emplace(s.option, s.value);
      CHECK(
          largest_difference(weight_of(std::string(row->name).c_str(), answers, set, found), at::ones({5}, at::kDouble))
          == 0);
    }
  }
  CHECK(found.masked == 0);
  CHECK(found.truncated == 0);
}

TEST_CASE("weights carry no gradient and stay finite whatever the log-probabilities are, and without tokens") {
  for (const correction* row : all_corrections()) {
    CAPTURE(std::string(row->name));
    answer_columns answers = answers_with_ratios({1, 1, 1, 1}, {2, 2});
    answers.behaviour_logprob = doubles({-900, 0, -1e-9, -900});
    answers.old_logprob = doubles({0, -900, -900, -1}).requires_grad_();
    answers.logprob = doubles({-900, 0, -1, -900}).requires_grad_();
    answers.advantage = doubles({1, 1, -1, -1});
    const at::Tensor w = weight_of(std::string(row->name).c_str(), answers);
    CHECK(!w.requires_grad());
    CHECK(w.isfinite().all().item<bool>());
    CHECK(w.ge(0).all().item<bool>());
    CHECK(weight_of(std::string(row->name).c_str(), answers_with_ratios({}, {0})).numel() == 0);
  }
}

TEST_CASE("half-precision log-probabilities are subtracted in float") {
  answer_columns answers = answers_with_ratios({2}, {1});
  answers.old_logprob = answers.old_logprob.to(at::kBFloat16);
  answers.behaviour_logprob = answers.behaviour_logprob.to(at::kBFloat16);
  answers.logprob = answers.logprob.detach().to(at::kBFloat16);
  answers.advantage = answers.advantage.to(at::kBFloat16);
  CHECK((weight_of("truncated", answers).scalar_type() == at::kFloat));
  CHECK((weight_of("icepop", answers).scalar_type() == at::kFloat));
}

TEST_CASE("untruncated weights average to one under the behaviour policy, by simulation, at token and answer level") {
  const double behave_first[3] = {0.5, 0.3, 0.2},
               behave_second[3][3] = {{0.2, 0.2, 0.6}, {0.4, 0.4, 0.2}, {0.1, 0.6, 0.3}};
  const double old_first[3] = {0.4, 0.4, 0.2}, old_second[3][3] = {{0.3, 0.3, 0.4}, {0.3, 0.5, 0.2}, {0.2, 0.5, 0.3}};
  constexpr int samples = 20000;
  std::mt19937_64 random(5);
  std::vector<double> behaviour, old;
  for (int i = 0; i < samples; ++i) {
    std::discrete_distribution<int> first(behave_first, behave_first + 3);
    const int a = first(random);
    std::discrete_distribution<int> second(behave_second[a], behave_second[a] + 3);
    const int b = second(random);
    behaviour.insert(behaviour.end(), {std::log(behave_first[a]), std::log(behave_second[a][b])});
    old.insert(old.end(), {std::log(old_first[a]), std::log(old_second[a][b])});
    REQUIRE(logprob_of(3 * a + b, behave_first, behave_second)
            == doctest::Approx(behaviour[behaviour.size() - 2] + behaviour.back()));
  }
  answer_columns answers =
      answers_with_ratios(std::vector<double>(2 * samples, 1), std::vector<std::int64_t>(samples, 2));
  answers.behaviour_logprob = doubles(behaviour);
  answers.old_logprob = doubles(old);
  for (const double level : {0, 1}) {
    const at::Tensor w = weight_of("truncated", answers, {{"cap", 1e9}, {"level", level}});
    const double deviation = w.std().item<double>() / std::sqrt(samples); // tokens of an answer are not independent
    CHECK(std::abs(w.mean().item<double>() - 1) < 4 * deviation);
    CHECK(deviation > 1e-3);
  }
}

TEST_CASE("the log-linear anchor equals AReaL's") {
  for (const auto& golden : goldens()["anchors"]) {
    answer_columns answers = answers_of(goldens()["batches"][golden["batch"].get<std::size_t>()]);
    answers.policy_version = golden["version"];
    CHECK(largest_difference(anchor(proximal::log_linear, answers), numbers(golden["log_linear"])) < 1e-6);
  }
}

TEST_CASE("the anchor by hand: three versions old is two thirds of the way") {
  answer_columns answers = answers_with_ratios({2, 2, 2}, {3}); // logprob = -3 + log 2
  answers.version = at::tensor({4, 6, 7}, at::kLong);
  answers.policy_version = 7;
  const at::Tensor at = anchor(proximal::log_linear, answers);
  CHECK(largest_difference(at, doubles({-3 + 2 * std::log(2) / 3, -3, -3})) < 1e-12);
  CHECK(largest_difference(anchor(proximal::behaviour, answers), answers.behaviour_logprob) == 0);
  CHECK(largest_difference(anchor(proximal::recomputed, answers), answers.old_logprob) == 0);
  answers.version = at::Tensor();
  CHECK_THROWS_WITH_AS(anchor(proximal::log_linear, answers), doctest::Contains("version: missing"), c10::Error);
  CHECK_THROWS_WITH(proximal_named("new"), "proximal 'new': unknown, want recomputed, log_linear or behaviour");
}

TEST_CASE("decoupled PPO by hand: weight 2 against the sampler, ratio 1.5 cut at 1.2 against the proximal policy") {
  answer_columns answers = answers_with_ratios({2}, {1});
  answers.logprob = (answers.old_logprob + std::log(1.5)).requires_grad_();
  answers.group_tokens = at::tensor({1}, at::kLong);
  const auto loss = [&](proximal against) {
    diagnostics found;
    const correction& truncated = *find_correction("truncated");
    const loss_options options{.against = against,
                               .corrections = {{&truncated, hyperparameter_values(truncated.options, {{"cap", 5}})}}};
    const algorithm& grpo = *find("grpo");
    return policy_loss(grpo, hyperparameter_values(grpo.options), options, answers, {1, 1, 1}, found).item<double>();
  };
  CHECK(loss(proximal::recomputed) == doctest::Approx(-2 * 1.2).epsilon(1e-12));
  CHECK(loss(proximal::behaviour) == doctest::Approx(-1.2).epsilon(1e-12)); // ratio 3 cut at 1.2, nothing to correct
}

TEST_CASE("masked tokens stay in the denominator") {
  answer_columns answers = answers_with_ratios({1, 100}, {2});
  answers.group_tokens = at::tensor({2}, at::kLong);
  const correction& icepop = *find_correction("icepop");
  diagnostics found;
  const algorithm& grpo = *find("grpo");
  const loss_options options{.corrections = {{&icepop, hyperparameter_values(icepop.options)}}};
  policy_loss(grpo, hyperparameter_values(grpo.options), options, answers, {2, 1, 1}, found).backward();
  CHECK(largest_difference(answers.logprob.grad(), doubles({-0.5, 0})) < 1e-12); // not -1
  CHECK(found.masked_fraction() == 0.5);
}

TEST_CASE("V-trace targets equal torchbeast's") {
  for (const auto& golden : goldens()["vtrace"]) {
    const at::Tensor value = numbers(golden["value"]), reward = at::zeros_like(value);
    reward[-1] = golden["reward"].get<double>();
    const double bar = golden["rho_bar"];
    const auto made = trace_values(numbers(golden["log_rho"]), reward, value, at::tensor({value.numel()}, at::kLong),
                                   golden["gamma"], {bar, 1, bar});
    CHECK(largest_difference(made.values, numbers(golden["vs"])) < 1e-9);
    CHECK(largest_difference(made.advantages, numbers(golden["advantage"])) < 1e-9);
  }
}

} // namespace every_correction_test
