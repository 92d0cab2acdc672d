#include "runtime/telemetry/time_table.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>

namespace time_table_test {

using namespace millrace;
using namespace millrace::telemetry;

namespace {

span span_of(std::string track, std::string_view why, double start_s, double end_s) {
  return {std::move(track), "", std::string{why}, start_s, end_s - start_s, {}};
}

std::map<std::string, double> fractions_of(const role_time& row) {
  return {row.fractions.begin(), row.fractions.end()};
}

} // namespace

TEST_CASE("time by cause is that of the spans, and what none covers is idle") {
  time_table table;
  const std::vector<span> spans{span_of("learner", cause::compute, 0, 6), span_of("learner", cause::wait_input, 7, 9)};
  table.add(spans);
  const auto rows = table.rows(10);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].role == "learner");
  CHECK(rows[0].seconds == 10);
  CHECK(rows[0].fractions.front().first == "compute");
  CHECK(rows[0].fractions.back().first == "idle");
  const auto fractions = fractions_of(rows[0]);
  CHECK(fractions.at("compute") == doctest::Approx(0.6));
  CHECK(fractions.at("wait_input") == doctest::Approx(0.2));
  CHECK(fractions.at("idle") == doctest::Approx(0.2));
}

TEST_CASE("a moment counts for the innermost span over it") {
  time_table table;
  const std::vector<span> spans{span_of("rollout", cause::wait_weights, 2, 3), span_of("rollout", cause::compute, 1, 5),
                                span_of("rollout", cause::storage, 0, 10)};
  table.add(spans);
  const auto fractions = fractions_of(table.rows().at(0));
  CHECK(fractions.at("wait_weights") == doctest::Approx(0.1));
  CHECK(fractions.at("compute") == doctest::Approx(0.3));
  CHECK(fractions.at("storage") == doctest::Approx(0.6));
  CHECK(fractions.at("idle") == doctest::Approx(0));
}

TEST_CASE("actors of one role are summed") {
  time_table table;
  const std::vector<span> spans{span_of("rollout/0", cause::compute, 0, 4), span_of("rollout/1", cause::compute, 0, 1)};
  table.add(spans);
  const auto rows = table.rows(5);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].role == "rollout");
  CHECK(rows[0].tracks == 2);
  CHECK(rows[0].seconds == 10);
  CHECK(fractions_of(rows[0]).at("compute") == doctest::Approx(0.5));
}

TEST_CASE("a role that did one thing late was idle before") {
  time_table table;
  table.add(std::vector{span_of("learner", cause::compute, 0, 8), span_of("coordinator", cause::storage, 9, 10)});
  const auto rows = table.rows(20);
  CHECK(rows.at(0).role == "coordinator");
  CHECK(rows.at(0).seconds == 20);
  CHECK(fractions_of(rows.at(0)).at("storage") == doctest::Approx(0.05));
  CHECK(fractions_of(rows.at(1)).at("compute") == doctest::Approx(0.4));
}

TEST_CASE("another process's clock is brought in line") {
  time_table table;
  table.add(std::vector{span_of("rollout", cause::compute, 0, 1)}, 100);
  table.add(std::vector{span_of("rollout", cause::compute, 101, 102)}, 0);
  CHECK(table.rows().at(0).seconds == doctest::Approx(2));
}

TEST_CASE("fractions are within 0 and 1 and sum to 1, whatever the spans are") {
  std::mt19937 random{3};
  std::uniform_real_distribution<double> at{0, 100};
  std::exponential_distribution<double> long_for{1};
  for (int trial = 0; trial < 200; ++trial) {
    time_table table;
    std::vector<span> spans;
    for (int i = 0; i < 300; ++i) {
      const double start = at(random);
      const auto* const track = i % 3 == 0 ? "rollout/0" : i % 3 == 1 ? "rollout/1" : "learner";
      spans.push_back(span_of(track, i % 2 == 0 ? cause::compute : cause::paused, start, start + long_for(random)));
    }
    spans.push_back(span_of("learner", cause::compute, 5, std::numeric_limits<double>::infinity()));
    spans.push_back(span_of("learner", cause::compute, 5, 4));
    spans.push_back(span_of("source", cause::compute, 5, 5));
    table.add(spans);
    for (const auto& row : table.rows()) {
      double sum = 0;
      for (const auto& [why, fraction] : row.fractions) {
        CHECK(fraction >= 0);
        CHECK(fraction <= 1);
        sum += fraction;
      }
      CHECK(sum == doctest::Approx(1).epsilon(1e-9));
    }
  }
}

TEST_CASE("a long run's table stays small and right") {
  time_table table;
  for (int i = 0; i < 20'000; ++i)
    table.add(std::vector{span_of("learner", cause::compute, i, i + 0.25)});
  CHECK(fractions_of(table.rows(20'000).at(0)).at("compute") == doctest::Approx(0.25));
}

} // namespace time_table_test
