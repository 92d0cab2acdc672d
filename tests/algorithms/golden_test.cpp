#include "algorithms/gae.hpp"
#include "algorithms/kl.hpp"
#include "algorithms/kl_controller.hpp"
#include "algorithms/policy_loss.hpp"
#include "algorithms/value_loss.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <set>

namespace golden_test {

using namespace millrace;
using namespace millrace::algorithms;
using nlohmann::json;
using tests::doubles;
using tests::largest_difference;

namespace {

/// What tests/golden/make_algorithm_goldens.py wrote: agreement with the peers' own functions.
constexpr double tolerance = 1e-6;
const std::filesystem::path folder = "tests/golden/algorithms";

json read(const std::string& name) {
  return json::parse(std::ifstream(folder / (name + ".json")));
}

at::Tensor column(const json& numbers) {
  return doubles(numbers.get<std::vector<double>>());
}

at::Tensor counts(const json& numbers) {
  return at::tensor(numbers.get<std::vector<std::int64_t>>(), at::kLong);
}

step_columns step_columns_of(const json& batch, const json& test) {
  step_columns s;
  s.reward = column(batch["reward"]);
  s.group = test.contains("lone") ? at::arange(s.reward.numel(), at::kLong) : counts(batch["group"]);
  s.length = counts(batch["length"]);
  s.behaviour_logprob = column(batch["behaviour"]);
  s.ref_logprob = column(batch["ref"]);
  s.old_logprob = column(batch["old"]);
  s.value = column(batch["value"]);
  s.baseline = column(batch["baseline"]);
  if (test.contains("domain"))
    s.domain = counts(test["domain"]);
  return s;
}

answer_columns answer_columns_of(const json& batch) {
  answer_columns a;
  a.logprob = column(batch["logprob"]).requires_grad_();
  a.old_logprob = column(batch["old"]);
  a.behaviour_logprob = column(batch["behaviour"]);
  a.ref_logprob = column(batch["ref"]);
  a.advantage = column(batch["advantage"]);
  a.length = counts(batch["length"]);
  a.reward = column(batch["reward"]);
  a.group = counts(batch["group"]);
  const std::int64_t groups = a.group.max().item<std::int64_t>() + 1;
  a.group_tokens = at::zeros({groups}, at::kLong).index_add(0, a.group, a.length).index_select(0, a.group);
  a.score = column(batch["score"]).requires_grad_();
  return a;
}

void check_loss(const algorithm& row, const hyperparameter_values& values, const json& batch, const json& test) {
  const answer_columns a = answer_columns_of(batch);
  const step_totals totals{a.length.sum().item<std::int64_t>(), a.length.numel(),
                           a.group.max().item<std::int64_t>() + 1};
  diagnostics found;
  loss_options options{.how = aggregation_named(test["aggregation"].get<std::string>()),
                       .fixed_length = test.value("fixed_length", 1.0)};
  if (test.contains("kl")) {
    options.kl_coefficient = test["kl"]["coefficient"].get<double>();
    options.kl = kl_estimator_named(test["kl"]["estimator"].get<std::string>());
  }
  const at::Tensor loss = policy_loss(row, values, options, a, totals, found);
  loss.backward();
  if (test.contains("loss"))
    CHECK(std::abs(loss.item<double>() - test["loss"].get<double>()) < tolerance);
  CHECK(largest_difference((row.on == head::score ? a.score : a.logprob).grad(), column(test["gradient"])) < tolerance);
}

} // namespace

TEST_CASE("advantages, losses and gradients equal those of the peers' own functions, for every algorithm") {
  std::set<std::string> without{"vtrace"};
  for (const algorithm* row : all()) {
    const std::string name(row->name);
    if (without.count(name))
      continue;
    CAPTURE(name);
    REQUIRE(std::filesystem::exists(folder / (name + ".json")));
    const json golden = read(name);
    CHECK(!golden["cases"].empty());
    for (const json& test : golden["cases"]) {
      CAPTURE(test["peer"].get<std::string>());
      CAPTURE(test["function"].get<std::string>());
      CAPTURE(test["options"].dump());
      const hyperparameter_values values(row->options, test["options"].get<std::map<std::string, double>>());
      if (test.contains("advantages"))
        CHECK(largest_difference(row->advantages(step_columns_of(golden["batch"], test), values),
                                 column(test["advantages"]))
              < tolerance);
      else
        check_loss(*row, values, golden["batch"], test);
    }
  }
}

TEST_CASE("returns and value losses equal the peers'") {
  const json golden = read("gae");
  const json& batch = golden["batch"];
  const step_columns s = step_columns_of(batch, {});
  for (const json& test : golden["cases"]) {
    CAPTURE(test["function"].get<std::string>());
    if (test.contains("returns")) {
      at::Tensor earned = at::zeros_like(s.value);
      earned.index_put_({s.length.cumsum(0) - 1}, s.reward);
      const gae out =
          generalised_advantages(earned, s.value, s.length, test["gamma"].get<double>(), test["lambda"].get<double>());
      CHECK(largest_difference(out.returns, column(test["returns"])) < tolerance);
      if (test.contains("advantages"))
        CHECK(largest_difference(out.advantages, column(test["advantages"])) < tolerance);
    } else {
      const at::Tensor value = column(batch["logprob"]).requires_grad_();
      value_diagnostics found;
      const at::Tensor loss = value_loss(value, s.old_logprob, s.ref_logprob, test["clip"].get<double>(), found).mean();
      loss.backward();
      CHECK(std::abs(loss.item<double>() - test["value_loss"].get<double>()) < tolerance);
      CHECK(largest_difference(value.grad(), column(test["gradient"])) < tolerance);
    }
  }
}

TEST_CASE("KL estimators, their gradients and the controller equal the peers'") {
  const json golden = read("kl");
  for (const json& test : golden["cases"]) {
    CAPTURE(test["peer"].get<std::string>());
    CAPTURE(test["function"].get<std::string>());
    if (test.contains("controller")) {
      double coefficient = 0.2;
      for (const json& seen : test["controller"]) {
        coefficient = next_kl_coefficient(coefficient, seen[0].get<double>(), 512, {6, 10000});
        CHECK(coefficient == doctest::Approx(seen[1].get<double>()).epsilon(1e-12));
      }
      continue;
    }
    CAPTURE(test["estimator"].get<std::string>());
    const at::Tensor logprob = column(golden["batch"]["logprob"]).requires_grad_();
    const at::Tensor kl =
        kl_term(kl_estimator_named(test["estimator"].get<std::string>()), logprob, column(golden["batch"]["ref"]),
                {.input = test.value("input", 0.0), .output = test.value("output", 0.0)});
    kl.sum().backward();
    CHECK(largest_difference(kl, column(test["kl"])) < tolerance);
    CHECK(largest_difference(logprob.grad(), column(test["gradient"])) < tolerance);
  }
}

} // namespace golden_test
