#include "actors/coordinator/run_record.hpp"
#include "runtime/columns/column_set.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace run_record_test {

using namespace millrace;
using namespace millrace::actors;

namespace {

telemetry::trajectory of_group(std::uint64_t group) {
  return trajectory_of(group, columns::column_set({tests::prompt_columns("q" + std::to_string(group)),
                                                   tests::rollout_columns(), tests::reward_columns()}));
}

/// A run of the tiny pipeline and its folder; `begin_again` is what a resume does.
struct recorded_run {
  tests::temporary_folder scratch;
  pipeline::pipeline p = tests::tiny_pipeline();
  schedule::scheduler scheduler{pipeline::schedule_of(p)};
  std::optional<run_files::run_folder> folder;
  std::optional<run_record> record;

  recorded_run() {
    telemetry::process_log().show_from(telemetry::level::error);
    folder.emplace(run_files::run_folder::create(scratch / "run"));
    tests::write_file(folder->resolved(), pipeline::resolved_toml(p));
    record.emplace(p, *folder, 0);
  }

  void begin_again(std::int64_t step) {
    record.reset();
    folder.reset();
    folder.emplace(run_files::run_folder::open(scratch / "run"));
    record.emplace(p, *folder, step);
  }

  void step(std::int64_t number, double reward) {
    const auto group = static_cast<std::uint64_t>(number);
    record->keep(of_group(group));
    record->step_done(number, {{"reward", reward}, {"actor/pg_loss", 0.5}}, scheduler);
    record->trained(number, 0, {group});
  }
};

std::vector<std::int64_t> steps_in(const std::filesystem::path& metrics) {
  std::vector<std::int64_t> steps;
  for (const auto& row : telemetry::read_metrics(metrics))
    steps.push_back(row.step);
  return steps;
}

std::size_t lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

} // namespace

TEST_CASE("a trajectory holds every answer in words, with its rewards by rule and the versions of its tokens") {
  const auto row = of_group(7);
  CHECK(row.group == 7);
  CHECK(row.prompt == "user: q7");
  REQUIRE(row.answers.size() == 2);
  CHECK(row.answers[0].text == "12");
  CHECK(row.answers[0].tokens == 3);
  CHECK(row.answers[0].reward == 1);
  CHECK(row.answers[0].rewards == std::vector<std::pair<std::string, double>>{{"number", 1.0}});
  CHECK(row.answers[0].finish == "stop");
  CHECK(row.answers[0].version_min == 0);
  CHECK(row.answers[0].version_max == 1);
  CHECK(row.answers[1].finish == "length");
  CHECK_THROWS_AS(trajectory_of(7, columns::column_set({tests::prompt_columns("q7"), tests::rollout_columns()})),
                  std::out_of_range);
  CHECK_THROWS_AS(trajectory_of(7, columns::column_set({tests::rollout_columns(), tests::reward_columns()})),
                  std::out_of_range); // no prompt
}

TEST_CASE("only the columns that a trajectory is made of are pulled, with whatever rewards the group has") {
  const auto data = tests::data_plane_of(1);
  const std::vector tickets{data->publish(tests::prompt_columns("q7")), data->publish(tests::rollout_columns()),
                            data->publish(tests::reward_columns())};
  const auto wanted = trajectory_columns(tickets);
  CHECK(wanted.optional == std::vector<std::string>{"answer", "data_source", "reward", "reward.number"});
  CHECK(std::count(wanted.required.begin(), wanted.required.end(), "text") == 1);
  CHECK(std::count(wanted.required.begin(), wanted.required.end(), "logprob") == 0);
  tests::watched<std::vector<std::pair<columns::column_set, std::string>>> got;
  columns::pull_columns(*data, tickets, wanted, std::chrono::seconds(5),
                        [&](columns::column_set columns, std::string error) {
                          got.change([&](auto& all) { all.emplace_back(std::move(columns), std::move(error)); });
                        });
  REQUIRE(got.wait([](const auto& all) { return all.size() == 1; }));
  const auto [columns, error] = got.get()[0];
  CHECK(error.empty());
  CHECK(!columns.has("tokens"));
  CHECK(trajectory_of(7, columns).prompt == "user: q7");
  CHECK(trajectory_of(7, columns).answers.size() == 2);
  const columns::column_set expecting(
      {tests::prompt_columns("q7", "42"), tests::rollout_columns(), tests::reward_columns()});
  CHECK(trajectory_of(7, expecting).ground_truth == "42");
}

TEST_CASE("each step is a row of metrics, and each trained group a trajectory; forgotten ones are not told") {
  recorded_run run;
  run.step(1, 0.25);
  run.record->keep(of_group(99));
  run.record->forget(99);
  run.record->trained(2, 0, {99});
  run.step(2, 0.75);
  const auto rows = telemetry::read_metrics(run.folder->metrics());
  REQUIRE(rows.size() == 2);
  CHECK(rows[1].get("actor/pg_loss") == 0.5);
  const auto told = telemetry::read_trajectories(run.folder->trajectories());
  CHECK(lines(told) == 2);
  CHECK(told.find("q99") == std::string::npos);
}

TEST_CASE("a few of the groups trained last stand in a file of their own, with their tokens, and a resume forgets it") {
  recorded_run run;
  const shown_answer tokens{.text = {"1", "2"}, .logprob = {-1, -2}, .policy_logprob = {-1, -2}, .version = {0, 1}};
  const auto file = run_files::newest_groups_of(run.scratch / "run");
  for (const std::uint64_t group : {7, 8})
    run.record->keep(of_group(group));
  run.record->trained(1, 0, {7, 8}, {{.group = 8, .answers = {tokens}}, {.group = 9, .answers = {tokens}}});
  run.record->write_status(run.scheduler, "running", {}, {}, {}); // a first step may be within the first second
  const auto rows = tests::read_file(file);
  CHECK(lines(rows) == 1);
  CHECK(rows.find("\"group\":8") != std::string::npos);
  CHECK(rows.find("\"logprob\":[-1.0,-2.0]") != std::string::npos);
  CHECK(telemetry::read_trajectories(run.folder->trajectories()).find("logprob") == std::string::npos);
  run.begin_again(0);
  CHECK_FALSE(std::filesystem::exists(file));
}

TEST_CASE("a resume cuts what lies behind its checkpoint and goes on from there") {
  recorded_run run;
  for (std::int64_t step = 1; step <= 3; ++step)
    run.step(step, 0.1 * static_cast<double>(step));
  const auto first_session = run.folder->trajectories();
  run.begin_again(2);
  CHECK(steps_in(run.folder->metrics()) == std::vector<std::int64_t>{1, 2});
  CHECK(lines(telemetry::read_trajectories(first_session)) == 2);
  run.step(3, 0.9);
  CHECK(steps_in(run.folder->metrics()) == std::vector<std::int64_t>{1, 2, 3});
}

TEST_CASE("evaluations stand among the steps under their versions, and a resume keeps those that it goes on from") {
  recorded_run run;
  run.step(1, 0.1);
  run.step(2, 0.2);
  run.record->evaluated(
      "held_out", {.version = 1, .figures = {{"pass@1", 0.25}}, .tokens = 40, .seconds = 1.5}); // it came after step 2
  run.step(3, 0.3);
  run.record->evaluated("held_out", {.version = 3, .figures = {{"pass@1", 0.5}}, .tokens = 40, .seconds = 1.5});
  CHECK(steps_in(run.folder->metrics()) == std::vector<std::int64_t>{1, 2, 1, 3, 3});
  run.begin_again(2);
  CHECK(steps_in(run.folder->metrics()) == std::vector<std::int64_t>{1, 2, 1});
  REQUIRE(run.record->evaluations().at("held_out").size() == 1);
  CHECK(run.record->evaluations().at("held_out")[0].figures.at("pass@1") == 0.25);
  CHECK(run.record->evaluations().at("held_out")[0].figures.at("tokens") == 40);
}

} // namespace run_record_test
