#include "runtime/report/frame.hpp"
#include "runtime/report/gantt.hpp"
#include "runtime/report/line_chart.hpp"
#include "runtime/report/run_figures.hpp"
#include "runtime/report/token_flow.hpp"
#include "tests/runtime/report/recorded_example.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace figures_test {

using namespace millrace;
using namespace millrace::report;

TEST_CASE("a moment belongs to the innermost span over it") {
  const auto got = stretches_of(
      {{"a", "inner", "storage", 2, 1, {}}, {"a", "outer", "compute", 1, 4, {}}, {"a", "later", "paused", 7, 1, {}}});
  REQUIRE(got.size() == 4);
  CHECK((got[0].cause == "compute" && got[0].begin_s == 1 && got[0].end_s == 2));
  CHECK((got[1].cause == "storage" && got[1].begin_s == 2 && got[1].end_s == 3));
  CHECK((got[2].cause == "compute" && got[2].begin_s == 3 && got[2].end_s == 5));
  CHECK((got[3].cause == "paused" && got[3].begin_s == 7 && got[3].end_s == 8));
}

TEST_CASE("spans that overlap without nesting are counted once") {
  double covered = 0;
  for (const auto& s : stretches_of(
           {{"a", "x", "compute", 0, 3, {}}, {"a", "y", "compute", 2, 3, {}}, {"a", "z", "compute", 2.5, 0.1, {}}}))
    covered += s.end_s - s.begin_s;
  CHECK(covered == doctest::Approx(5));
}

TEST_CASE("causes of each role sum to one") {
  tests::temporary_folder here;
  tests::write_example_run(here / "run");
  const auto times = times_of(read_recorded_run(here / "run"));
  REQUIRE(times.size() == 2);
  for (const auto& role : times) {
    double sum = 0;
    for (const auto& [cause, share] : role.fractions)
      sum += share;
    CHECK(sum == doctest::Approx(1).epsilon(1e-12));
  }
}

TEST_CASE("staleness falls into buckets that double, and each answer's tokens and reward into its own") {
  CHECK(staleness_bucket(0) == "0");
  CHECK(staleness_bucket(2) == "2");
  CHECK(staleness_bucket(3) == "3-4");
  CHECK(staleness_bucket(4) == "3-4");
  CHECK(staleness_bucket(5) == "5-8");
  CHECK(staleness_bucket(9) == "9-16");
  CHECK(staleness_bucket(std::numeric_limits<std::int64_t>::max()) == "4611686018427387905-9223372036854775807");
  tests::temporary_folder here;
  tests::write_example_run(here / "run");
  const auto run = read_recorded_run(here / "run");
  CHECK(tokens_by_staleness(run) == std::map<std::int64_t, std::int64_t>{{0, 10}, {3, 30}});
  CHECK(reward_by_staleness(run) == std::vector<std::pair<std::string, double>>{{"0", 1.0}, {"3-4", 0.0}});
}

TEST_CASE("figures are those of the folder") {
  tests::temporary_folder here;
  tests::write_example_run(here / "run");
  std::map<std::string, std::string> got;
  for (const auto& [name, words, value] : key_figures(read_recorded_run(here / "run")))
    got[name] = words;
  CHECK(got["steps"] == "2 of 2");
  CHECK(got["steps an hour"] == "600");           // 2 in 12 s
  CHECK(got["tokens trained a second"] == "75");  // 900 in 12 s
  CHECK(got["reward, last 10 steps"] == "0.375"); // (0.25 + 0.5) / 2
  CHECK(got["tokens dropped"] == "80 (8 %)");
  CHECK(got["ledger"] == "closes");
}

TEST_CASE("the frame puts the ends of its ranges on the edges, ticks are round") {
  const frame in(0, 10, 0, 5);
  CHECK(in.x(0) == frame::left);
  CHECK(in.x(10) == frame::width - frame::right);
  CHECK(in.y(0) == frame::height - frame::bottom);
  CHECK(in.y(5) == frame::top);
  CHECK(ticks_between(0, 1, 5) == std::vector<double>{0, 0.2, 0.4, 6 * 0.1, 0.8, 1});
  CHECK(ticks_between(0, 0, 5).size() == 1);
  CHECK(in_figures(1234567) == "1,234,567");
  CHECK(in_figures(-12345) == "-12,345");
  CHECK(in_figures(4396.4) == "4396");
  CHECK(in_figures(25126, 9) == "25,126");
  CHECK(in_figures(0.12345) == "0.123");
  CHECK(in_figures(std::nan("")) == "–");
}

TEST_CASE("a value that is not finite leaves a gap; no values leave no chart") {
  const std::vector<series> lines{{"a", {{1, 1}, {2, std::nan("")}, {3, 2}, {4, 3}}}};
  const std::string chart = line_chart("t", "x", "y", lines);
  const std::string path = chart.substr(chart.find(" d=\"") + 4);
  CHECK(std::count(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(path.find('"')), 'M') == 2);
  CHECK(line_chart("t", "x", "y", std::vector<series>{{"a", {{1, std::nan("")}}}}).empty());
}

TEST_CASE("bands of the token flow are as thick as their share and leave nothing out") {
  const std::string drawn = token_flow("t", {1000, 900, 20, {{"stale <4>", 80}}});
  CHECK(drawn.find("height=\"135.0\"") != std::string::npos); // 900 of 1000 of 150 pixels
  CHECK(drawn.find("height=\"12.0\"") != std::string::npos);  // 80
  CHECK(drawn.find("height=\"3.0\"") != std::string::npos);   // 20
  CHECK(drawn.find("stale &lt;4&gt;") != std::string::npos);
  CHECK(token_flow("t", {}).empty());
}

} // namespace figures_test
