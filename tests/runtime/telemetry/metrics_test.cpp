#include "runtime/telemetry/metrics.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <limits>

namespace metrics_test {

using namespace millrace;
using namespace millrace::telemetry;
using millrace::tests::temporary_folder;

namespace {

metric_row row_of(std::int64_t step) {
  metric_row row;
  row.step = step;
  row.wall_s = 1000.5;
  row.set(metric::reward, 0.25 * static_cast<double>(step));
  row.set(metric::rule_reward("number"), 1);
  return row;
}

std::vector<std::int64_t> steps_in(const std::filesystem::path& path) {
  std::vector<std::int64_t> steps;
  for (const auto& row : read_metrics(path))
    steps.push_back(row.step);
  return steps;
}

} // namespace

TEST_CASE("a step is one line of JSON with its keys in the order they were set") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  metrics_file file{path, 0};
  file.append(row_of(1));
  CHECK(run_files::read_file(path) == "{\"step\":1,\"wall_s\":1000.5,\"reward\":0.25,\"rewards/number/mean\":1.0}\n");
}

TEST_CASE("every line is in the file as soon as it is appended, and reads back") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  metrics_file file{path, 0};
  file.append(row_of(1));
  CHECK(steps_in(path) == std::vector<std::int64_t>{1});
  file.append(row_of(2));
  const auto rows = read_metrics(path);
  REQUIRE(rows.size() == 2);
  CHECK(rows[1].values == row_of(2).values);
  CHECK(rows[1].get("rewards/number/mean") == 1.0);
  CHECK_FALSE(rows[1].get("nothing"));
}

TEST_CASE("a figure that is set twice stands once") {
  metric_row row = row_of(1);
  row.set(metric::reward, 9);
  CHECK(row.values.size() == 2);
  CHECK(row.get(metric::reward) == 9);
}

TEST_CASE("a number that is not finite is null, and the line stays JSON") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  auto row = row_of(1);
  row.set("a", std::nan(""));
  row.set("b", std::numeric_limits<double>::infinity());
  metrics_file{path, 0}.append(row);
  CHECK(run_files::read_file(path).find("\"a\":null,\"b\":null") != std::string::npos);
  CHECK(std::isnan(*read_metrics(path).at(0).get("a")));
}

TEST_CASE("a resume cuts the steps after its checkpoint, so that none is told twice") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  {
    metrics_file file{path, 0};
    for (int step = 1; step <= 5; ++step)
      file.append(row_of(step));
  }
  metrics_file resumed{path, 3};
  CHECK(steps_in(path) == std::vector<std::int64_t>{1, 2, 3});
  resumed.append(row_of(4));
  CHECK(steps_in(path) == std::vector<std::int64_t>{1, 2, 3, 4});
}

TEST_CASE("a last line torn at any byte is cut on resume and skipped by readers") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  {
    metrics_file file{path, 0};
    file.append(row_of(1));
    file.append(row_of(2));
  }
  const std::string whole = run_files::read_file(path);
  const std::size_t first = whole.find('\n') + 1;
  for (std::size_t bytes = first; bytes < whole.size(); ++bytes) {
    std::ofstream{path, std::ios::trunc} << whole.substr(0, bytes);
    CHECK(steps_in(path) == std::vector<std::int64_t>{1});
    metrics_file{path, 9}.append(row_of(2));
    CHECK(run_files::read_file(path) == whole);
  }
}

TEST_CASE("what is not a row ends the file for readers") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "metrics.jsonl";
  for (const char* bad :
       {"[]\n", "{\"step\":\"1\"}\n", "{\"reward\":1}\n", "{\"step\":2,\"x\":{}}\n", "\n", "\xff\xfe\n"}) {
    metrics_file{path, 0}.append(row_of(1));
    std::ofstream{path, std::ios::app} << bad;
    CHECK(steps_in(path) == std::vector<std::int64_t>{1});
  }
  CHECK(read_metrics(scratch.path() / "none").empty());
}

} // namespace metrics_test
