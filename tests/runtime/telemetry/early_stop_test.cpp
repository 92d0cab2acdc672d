#include "runtime/telemetry/early_stop.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace early_stop_test {

using namespace millrace;
using namespace millrace::telemetry;

namespace {

metric_row row_of(std::string_view name, double value) {
  metric_row row;
  row.set(name, value);
  return row;
}

/// After how many values the rule stops the run; 0 = never.
int stops_after(const stop_rule& rule, const std::vector<double>& values, std::string* why = nullptr) {
  early_stop rules({rule});
  for (std::size_t i = 0; i < values.size(); ++i)
    if (const auto said = rules.seen(row_of(rule.metric, values[i])); !said.empty()) {
      if (why)
        *why = said;
      return static_cast<int>(i) + 1;
    }
  return 0;
}

} // namespace

TEST_CASE("a limit stops the run when the mean of the last values is above it") {
  const stop_rule rule{.metric = "actor/kl_loss", .above = 0.5, .over = 3};
  std::string why;
  CHECK(stops_after(rule, {0.9, 0.1, 0.4, 0.9, 0.3}, &why) == 5); // means of three: 0.467, 0.467, 0.533
  CHECK(why == "actor/kl_loss was 0.5333 over the last 3 values, above 0.5");
  CHECK(stops_after(rule, {9, 9}) == 0); // not three yet
  CHECK(stops_after({.metric = "kl", .above = 0.5, .over = 1}, {0.5, 0.51}) == 2);
}

TEST_CASE("patience stops the run when the best value is so many back") {
  const stop_rule rule{.metric = "reward", .patience = 3};
  std::string why;
  CHECK(stops_after(rule, {0.1, 0.3, 0.2, 0.3, 0.1, 0.9}, &why) == 5);
  CHECK(why == "reward has not risen above 0.3 for the last 3 values");
  CHECK(stops_after(rule, {0.1, 0.2, 0.3, 0.4, 0.5}) == 0);
  CHECK(stops_after({.metric = "kl", .patience = 2, .highest_is_best = false}, {3, 2, 2.5, 2.1}) == 4);
  CHECK(stops_after({.metric = "reward", .patience = 2, .min_change = 0.1}, {0.5, 0.55, 0.59})
        == 3); // too small to count
}

TEST_CASE("figures that are not there, or not finite, count as none") {
  early_stop rules({{.metric = "reward", .patience = 1}});
  CHECK(rules.seen(row_of("reward", 1)).empty());
  CHECK(rules.seen(row_of("reward", std::nan(""))).empty());
  CHECK(rules.seen(row_of("loss", 5)).empty());
  CHECK_FALSE(rules.seen(row_of("reward", 1)).empty());
}

TEST_CASE("a metric that no step has is named; those of evaluations come when they come") {
  const early_stop rules({{.metric = "rewrad"}, {.metric = "evaluation/held_out/pass@1"}, {.metric = "reward"}});
  CHECK(rules.missing_in(row_of("reward", 1)) == std::vector<std::string>{"rewrad"});
}

} // namespace early_stop_test
