#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <sstream>
#include <utility>

namespace evaluation_test {

using namespace millrace::tests;

namespace {

/// A held-out role beside the tiny pipeline, which asks eight sums every four steps.
strings with_evaluation(const strings& more = {}) {
  strings sets;
  for (const char* set : {"roles.learner.publishes_to=[\"rollout\", \"held_out\"]", "roles.held_out.kind=evaluation",
                          "roles.held_out.model=tiny", "roles.held_out.generator={type = \"arithmetic\"}",
                          "roles.held_out.rows=8", "roles.held_out.answers_per_prompt=4",
                          "roles.held_out.pass_at=[1, 4]", "roles.held_out.max_new_tokens=16", "roles.held_out.every=4",
                          "roles.held_out.rules=[{type = \"format\", pattern = \"[a-e0-9]\", match = \"search\"}]"})
    sets.insert(sets.end(), {"--set", set});
  sets.insert(sets.end(), more.begin(), more.end());
  return sets;
}

/// The rows of the evaluation, by the version that it asked.
std::map<std::int64_t, nlohmann::ordered_json> evaluations(const run_on_disk& files) {
  std::map<std::int64_t, nlohmann::ordered_json> rows;
  for (const auto& row : files.metrics())
    if (row.contains("evaluation/held_out/pass@1"))
      rows[row.at("step")] = row;
  return rows;
}

/// The rows of the steps as they stand, without times.
std::vector<std::string> curve(const run_on_disk& files) {
  std::vector<std::string> rows;
  for (const auto& row : files.metrics())
    if (row.contains("reward"))
      rows.push_back(row.at("step").dump() + row.at("reward").dump() + row.at("actor/pg_loss").dump()
                     + row.at("actor/grad_norm").dump());
  return rows;
}

} // namespace

TEST_CASE("an evaluation beside a run: at the start, every few steps and at the end, and no step is another for it") {
  const tiny_run plain({.steps = 10}), with({.steps = 10});
  REQUIRE(run_to_end(plain.start()).status == 0);
  const auto done = run_to_end(with.start(with_evaluation()));
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  CHECK(curve(with.files()) == curve(plain.files()));
  const auto found = evaluations(with.files());
  CHECK(found.contains(0));
  CHECK(found.contains(10));
  for (const auto& [version, row] : found) {
    CAPTURE(version);
    CHECK((version % 4 == 0 || version == 10));
    CHECK(row.at("evaluation/held_out/answers") == 32);
    CHECK(row.at("evaluation/held_out/pass@4") >= row.at("evaluation/held_out/pass@1"));
  }
  // Tokens of evaluations are not the ledger's, which closes without them.
  CHECK(with.files().status().at("ledger") == plain.files().status().at("ledger"));
  CHECK(done.err.find("held_out  avg@4 ") != std::string::npos);
  CHECK(done.err.find("held_out     version 0: avg@4 ") != std::string::npos);
  CHECK(done.err.find("(versions 0 -> 10; ") != std::string::npos);
}

TEST_CASE("the answers of each evaluation stay in a file, and their share of right ones is its figure") {
  const tiny_run run({.steps = 8});
  const auto done = run_to_end(run.start(with_evaluation()));
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  std::map<std::int64_t, std::pair<double, double>> right_of_all;
  std::istringstream lines(read_file(run.files().folder() / "evaluation_answers.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto row = nlohmann::json::parse(line);
    CHECK(row.at("role") == "held_out");
    CHECK_FALSE(row.at("row").get<std::string>().empty());
    auto& [right, all] = right_of_all[row.at("version")];
    for (const auto& answer : row.at("answers")) {
      right += answer.at("correct").get<bool>() ? 1 : 0;
      all += 1;
    }
  }
  const auto found = evaluations(run.files());
  CHECK(right_of_all.size() == found.size());
  for (const auto& [version, row] : found) {
    CAPTURE(version);
    const auto [right, all] = right_of_all.at(version);
    CHECK(all == row.at("evaluation/held_out/answers").get<double>());
    CHECK(right / all == doctest::Approx(row.at("evaluation/held_out/avg@4").get<double>()));
  }
  const tiny_run none({.steps = 2});
  REQUIRE(run_to_end(none.start(with_evaluation({"--set", "roles.held_out.answers_kept=0"}))).status == 0);
  CHECK_FALSE(std::filesystem::exists(none.files().folder() / "evaluation_answers.jsonl"));
}

TEST_CASE("an evaluation learns what the run learns") {
  const tiny_run run({.steps = 30});
  const strings first_letter{
      "--set", "roles.rules.rules=[{type = \"format\", pattern = \"^[a-e0-9]\", match = \"search\"}]",
      "--set", "roles.held_out.rules=[{type = \"format\", pattern = \"^[a-e0-9]\", match = \"search\"}]",
      "--set", "roles.held_out.rows=64"};
  const auto done = run_to_end(run.start(with_evaluation(first_letter)));
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  const auto found = evaluations(run.files());
  REQUIRE(found.contains(30));
  CHECK(found.at(30).at("evaluation/held_out/pass@1") > found.at(0).at("evaluation/held_out/pass@1"));
}

TEST_CASE("SIGKILL of an evaluation's process costs nothing but that evaluation") {
  const tiny_run run({.steps = 60});
  const auto files = run.files();
  running_command running(
      run.start(with_evaluation({"--set", "placement.held_out.processes=1", "--set", "roles.held_out.rows=512"})));
  REQUIRE(wait_until([&] {
    return files.log().find("held_out/0") != std::string::npos
           && files.log().find("held-out prompts") != std::string::npos;
  }));
  const auto victim = files.process_of("held_out/0");
  REQUIRE(victim > 0);
  REQUIRE(kill(victim, SIGKILL) == 0);
  const auto end = running.wait(60);
  CAPTURE(running.err());
  CHECK(end.status == 0);
  CHECK(running.err().find("started again as process") != std::string::npos);
  CHECK(curve(files).size() == 60);
  CHECK(evaluations(files).contains(60));
  CHECK(files.status().at("ledger").at("live") == 0);
}

TEST_CASE("a resumed run keeps its evaluations and does not repeat them") {
  const tiny_run run({.steps = 8, .run = "checkpoint_every = 4\n"});
  REQUIRE(run_to_end(run.start(with_evaluation())).status == 0);
  const auto first = evaluations(run.files());
  const auto more = run_to_end(run.resume({"--set", "run.steps=12"}));
  CAPTURE(more.err);
  REQUIRE(more.status == 0);
  const auto all = evaluations(run.files());
  CHECK(all.contains(12));
  for (const auto& [version, row] : first)
    CHECK(all.at(version) == row);
}

} // namespace evaluation_test
