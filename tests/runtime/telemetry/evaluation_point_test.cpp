#include "runtime/telemetry/evaluation_point.hpp"

#include <doctest/doctest.h>

namespace evaluation_point_test {

using namespace millrace;
using namespace millrace::telemetry;

namespace {

metric_row row_of(std::int64_t version, double passed) {
  metric_row row;
  row.step = version;
  row.set(metric::evaluation("held_out", "pass@1"), passed);
  row.set(metric::evaluation("held_out", "gsm8k/pass@1"), passed / 2);
  row.set(metric::evaluation("held_out", "length/mean"), 12);
  row.set(metric::evaluation("held_out", "length/clip_ratio"), 0.25);
  row.set(metric::evaluation("held_out", "tokens"), 600);
  row.set(metric::evaluation("held_out", "seconds"), 3);
  return row;
}

} // namespace

TEST_CASE("rows of evaluations are told from rows of steps, and stand in the order of versions") {
  std::map<std::string, std::vector<evaluation_point>> points;
  metric_row step;
  step.step = 3;
  step.set(metric::reward, 0.5);
  CHECK_FALSE(collect_evaluation(step, points));
  CHECK_FALSE(collect_evaluation(metric_row{}, points));
  CHECK(collect_evaluation(row_of(20, 0.5), points));
  CHECK(collect_evaluation(row_of(0, 0.25), points));
  CHECK(collect_evaluation(row_of(20, 0.75), points)); // again: the later one counts
  REQUIRE(points.at("held_out").size() == 2);
  CHECK(points.at("held_out")[0].version == 0);
  CHECK(points.at("held_out")[1].figures.at("pass@1") == 0.75);
  CHECK(points.at("held_out")[1].figures.at("gsm8k/pass@1") == 0.375);
}

TEST_CASE("evaluations in words: one version, and before and after") {
  std::map<std::string, std::vector<evaluation_point>> points;
  collect_evaluation(row_of(0, 0.25), points);
  CHECK(in_words(points.at("held_out").back()) == "version 0: pass@1 0.250, 12 tokens an answer, 25 % cut off, 3 s");
  CHECK(in_words(std::span<const evaluation_point>(points.at("held_out")))
        == "pass@1 0.250 (version 0; 600 tokens sampled beside the ledger)");
  collect_evaluation(row_of(60, 0.75), points);
  CHECK(in_words(std::span<const evaluation_point>(points.at("held_out")))
        == "pass@1 0.250 -> 0.750 (versions 0 -> 60; 1200 tokens sampled beside the ledger)");
  CHECK(in_words(std::span<const evaluation_point>()).empty());
}

} // namespace evaluation_point_test
