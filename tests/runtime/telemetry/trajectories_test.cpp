#include "runtime/telemetry/trajectories.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <limits>
#include <sstream>

namespace trajectories_test {

using namespace millrace;
using namespace millrace::telemetry;
using millrace::tests::temporary_folder;

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

trajectory row_of(std::uint64_t group, std::int64_t step) {
  return {group,
          step,
          "What is 1 plus 1?",
          {{"2", 1, 1.0, {{"number", 1.0}}, "stop", 3, 4}, {"x\n", 64, 0, {}, "length", 4, 4}}};
}

std::vector<json> rows_in(const fs::path& path) {
  std::vector<json> rows;
  std::istringstream lines{read_trajectories(path)};
  for (std::string line; std::getline(lines, line);)
    rows.push_back(json::parse(line));
  return rows;
}

} // namespace

TEST_CASE("a group is one row with its prompt and every answer") {
  const temporary_folder scratch;
  trajectory_file file{scratch.path() / "t.jsonl.zst", 1};
  auto row = row_of(17, 5);
  row.ground_truth = "2";
  row.data_source = "sums";
  file.append(row);
  file.flush();
  const auto rows = rows_in(scratch.path() / "t.jsonl.zst");
  REQUIRE(rows.size() == 1);
  CHECK(rows[0] == json::parse(R"({"step":5,"part":0,"group":17,"data_source":"sums","prompt":"What is 1 plus 1?",
             "ground_truth":"2","answers":[
             {"text":"2","tokens":1,"reward":1.0,"rewards":{"number":1.0},"finish":"stop","versions":[3,4]},
             {"text":"x\n","tokens":64,"reward":0.0,"rewards":{},"finish":"length","versions":[4,4]}]})"));
}

TEST_CASE("shown tokens are columns of their answer, and what is no number is null") {
  auto row = row_of(17, 5);
  row.answers[0].shown = {.text = {"2", "</s>"},
                          .logprob = {-0.5f, -1.23456f},
                          .policy_logprob = {-0.25f, std::numeric_limits<float>::quiet_NaN()},
                          .version = {3, 4}};
  const auto answers = json::parse(to_line(row)).at("answers");
  CHECK(answers[0].at("shown") == json::parse(R"({"text":["2","</s>"],"logprob":[-0.5,-1.2346],
                                                "policy_logprob":[-0.25,null],"version":[3,4]})"));
  CHECK_FALSE(answers[1].contains("shown"));
}

TEST_CASE("text that is not UTF-8 does not spoil the row") {
  const temporary_folder scratch;
  trajectory_file file{scratch.path() / "t.jsonl.zst", 1};
  auto row = row_of(1, 1);
  row.answers[0].text = "a\xff\xc3";
  file.append(row);
  file.flush();
  CHECK(rows_in(scratch.path() / "t.jsonl.zst").at(0)["answers"][0]["text"] == "a\xef\xbf\xbd\xef\xbf\xbd");
}

TEST_CASE("what is flushed is readable up to the last whole frame, wherever the file is torn") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "t.jsonl.zst";
  {
    trajectory_file file{path, 1};
    for (int step = 1; step <= 3; ++step) {
      file.append(row_of(static_cast<std::uint64_t>(step), step));
      file.flush();
    }
    file.append(row_of(4, 4)); // never flushed: a crash loses it
  }
  const std::string whole = run_files::read_file(path);
  CHECK(rows_in(path).size() == 3);
  std::size_t before = 0;
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    std::ofstream{path, std::ios::trunc | std::ios::binary} << whole.substr(0, bytes);
    const auto rows = rows_in(path).size();
    CHECK(rows < 3);
    CHECK(rows >= before);
    before = rows;
  }
  CHECK(before == 2);
}

TEST_CASE("a resume cuts the frames of steps after its checkpoint") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "trajectories-1.jsonl.zst";
  {
    trajectory_file file{path, 1};
    for (int step = 1; step <= 4; ++step)
      for (std::uint64_t group = 0; group < 3; ++group)
        file.append(row_of(group, step)); // a new step closes the frame of the one before
    file.flush();
  }
  std::ofstream{path, std::ios::app} << "torn";
  forget_trajectories_after(scratch.path(), 2);
  const auto rows = rows_in(path);
  REQUIRE(rows.size() == 6);
  CHECK(rows.back()["step"] == 2);
  forget_trajectories_after(scratch.path(), 2);
  CHECK(rows_in(path).size() == 6);
}

TEST_CASE("sampling takes the same groups always, about the fraction asked for, and more only adds") {
  int tenth = 0;
  for (std::uint64_t group = 0; group < 10'000; ++group) {
    CHECK_FALSE(is_sampled(group, 0));
    CHECK(is_sampled(group, 1));
    if (is_sampled(group, 0.1)) {
      ++tenth;
      CHECK(is_sampled(group, 0.2));
    }
  }
  CHECK(tenth > 900); // 1000 expected, standard deviation 30
  CHECK(tenth < 1100);
  const temporary_folder scratch;
  trajectory_file file{scratch.path() / "t.jsonl.zst", 0};
  file.append(row_of(1, 1));
  file.flush();
  CHECK(rows_in(scratch.path() / "t.jsonl.zst").empty());
}

TEST_CASE("rows compress well") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "t.jsonl.zst";
  trajectory_file file{path, 1};
  for (std::uint64_t group = 0; group < 32; ++group)
    file.append(row_of(group, 1));
  file.flush();
  CHECK(fs::file_size(path) * 5 < read_trajectories(path).size());
}

} // namespace trajectories_test
