#include "runtime/run_files/manifest.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <set>

namespace resume_test {

using namespace millrace::tests;

namespace {

constexpr int steps = 30;

tiny_pipeline checkpointed_pipeline() {
  return {.steps = steps, .run = "checkpoint_every = 4\n"};
}

/// Kills the run's own process once `holds`; its children must be gone with it.
void kill_all_when(const strings& command, const run_on_disk& files, const std::function<bool()>& holds, bool placed) {
  running_command running(command);
  REQUIRE(wait_until([&] { return holds() || running.ended(); }));
  std::vector<pid_t> children;
  if (placed)
    for (const auto* instance : {"rollout/0", "rollout/1", "rules/0", "learner/0"})
      if (const auto pid = files.process_of(instance); pid > 0)
        children.push_back(pid);
  CAPTURE(running.err());
  REQUIRE_FALSE(running.ended().has_value());
  running.signal(SIGKILL);
  CHECK(running.wait().signal == SIGKILL);
  for (const auto child : children)
    CHECK(wait_until([&] { return !is_running(child); }, 2));
}

bool writes_checkpoint(const run_on_disk& files) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(files.folder() / "checkpoints", ignored))
    if (entry.path().filename().string().starts_with(".partial-"))
      return true;
  return false;
}

strings uninterrupted_curve() {
  static const strings curve = [] {
    const tiny_run run(checkpointed_pipeline());
    const auto done = run_to_end(run.start());
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    return run.files().learning_curve();
  }();
  return curve;
}

} // namespace

TEST_CASE("prompts of several sources go on where they stood, also behind the end of one") {
  const temporary_folder folder;
  std::string rows;
  for (int i = 0; i < 9; ++i)
    rows += "{\"prompt\": \"" + std::string(static_cast<std::size_t>(i + 1), 'a') + "\", \"answer\": \"1\"}\n";
  write_file(folder / "few.jsonl", rows);
  tiny_pipeline text{.steps = 12,
                     .source = "sources = [ { name = \"made\", weight = 3, generator = { type = \"arithmetic\" } },"
                               " { name = \"few\", file = \""
                               + (folder / "few.jsonl").string() + "\", epochs = 1 } ]"};
  const tiny_run whole(text);
  REQUIRE(run_to_end(whole.start()).status == 0);
  const tiny_run stopped(text);
  REQUIRE(run_to_end(stopped.start({"--set", "run.steps=5"})).status == 0);
  const auto resumed = run_to_end(stopped.resume({"--set", "run.steps=12"}));
  CAPTURE(resumed.err);
  REQUIRE(resumed.status == 0);
  CHECK(stopped.files().learning_curve() == whole.files().learning_curve());
  const auto before = whole.files().metrics(), after = stopped.files().metrics();
  REQUIRE(after.size() == 12);
  int few = 0;
  for (std::size_t i = 0; i < after.size(); ++i) {
    CHECK(after[i].at("groups/from/made") == before[i].at("groups/from/made"));
    CHECK(after[i].at("reward/made") == before[i].at("reward/made"));
    CHECK(after[i].value("reward/few", -1.0) == before[i].value("reward/few", -1.0));
    few += after[i].value("groups/from/few", 0);
  }
  CHECK(few == 9);
  CHECK(after[3].at("groups/from/few") == 1);
  CHECK_FALSE(after[11].contains("groups/from/few"));
}

TEST_CASE("rows that come by their difficulty are the same after a resume, and the same run is made again") {
  const temporary_folder folder;
  std::string rows;
  for (int i = 0; i < 20; ++i)
    rows += "{\"prompt\": \"" + std::string(static_cast<std::size_t>(i + 1), 'a') + "\", \"answer\": \"1\"}\n";
  write_file(folder / "rows.jsonl", rows);
  const tiny_pipeline text{.steps = 12,
                           .source = "sampler = \"difficulty\"\nfile = \"" + (folder / "rows.jsonl").string() + "\""};
  const tiny_run whole(text), stopped(text);
  REQUIRE(run_to_end(whole.start()).status == 0);
  REQUIRE(run_to_end(stopped.start({"--set", "run.steps=5"})).status == 0);
  const auto resumed = run_to_end(stopped.resume({"--set", "run.steps=12"}));
  CAPTURE(resumed.err);
  REQUIRE(resumed.status == 0);
  CHECK(stopped.files().learning_curve() == whole.files().learning_curve());
  const auto again = run_to_end(command_line({"replay", stopped.files().folder().string()}), 60);
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

TEST_CASE("SIGKILL of everything, again and again: resume trains every group once and comes to the same losses") {
  for (const bool placed : {false, true}) {
    CAPTURE(placed);
    const tiny_run run(checkpointed_pipeline());
    const auto files = run.files();
    const auto sets = placed ? placed_apart(false) : strings{};
    kill_all_when(
        run.start(sets), files, [&] { return files.steps() >= 1; }, placed); // there is no checkpoint yet
    kill_all_when(
        run.resume(), files, [&] { return files.steps() >= 7; }, placed);
    kill_all_when(
        run.resume(), files, [&] { return files.steps() >= 9 && writes_checkpoint(files); }, placed);
    kill_all_when(
        run.resume(), files, [&] { return files.steps() >= 13; }, placed);
    const auto last = run_to_end(run.resume());
    CAPTURE(last.err);
    REQUIRE(last.status == 0);
    CHECK(last.err.find("going on from step") != std::string::npos);
    CHECK(files.learning_curve() == uninterrupted_curve());
    check_each_group_once(files, steps);
    const auto ledger = files.status().at("ledger");
    CHECK(ledger.at("live") == 0);
  }
}

TEST_CASE("an asynchronous run that is killed and resumed trains no group twice and leaves none behind") {
  const tiny_run run({.steps = steps, .preset = "bounded", .run = "checkpoint_every = 4\n"});
  const auto files = run.files();
  const strings sets{"--set", "placement.rollout.processes=2", "--set", "schedule.interrupt.mode=pause"};
  kill_all_when(
      run.start(sets), files, [&] { return files.steps() >= 6; }, true);
  kill_all_when(
      run.resume(), files, [&] { return files.steps() >= 14; }, true);
  const auto last = run_to_end(run.resume());
  CAPTURE(last.err);
  REQUIRE(last.status == 0);
  CHECK(files.steps() == steps);
  std::set<std::uint64_t> once;
  std::size_t trained = 0;
  for (const auto& [step, groups] : files.trained_groups()) {
    trained += groups.size();
    once.insert(groups.begin(), groups.end());
  }
  CHECK(trained == steps * groups_per_step);
  CHECK(once.size() == trained);
  CHECK(*once.rbegin() == trained - 1); // S-1: nothing is started beyond the last step
  CHECK(files.status().at("ledger").at("live") == 0);
}

TEST_CASE("a finished run can be given more steps") {
  const tiny_run run({.steps = 3});
  REQUIRE(run_to_end(run.start()).status == 0);
  const auto again = run_to_end(run.resume());
  CHECK(again.status == 0);
  CHECK(again.err.find("nothing is left to do") != std::string::npos);
  CHECK(again.err.find("loading models") == std::string::npos);
  const auto more = run_to_end(run.resume({"--set", "run.steps=6"}));
  CAPTURE(more.err);
  CHECK(more.status == 0);
  const tiny_run whole({.steps = 6});
  REQUIRE(run_to_end(whole.start()).status == 0);
  CHECK(run.files().learning_curve() == whole.files().learning_curve());
}

namespace {

std::string rows_from(int first, int count) {
  std::string text;
  for (int i = first; i < first + count; ++i)
    text += R"({"prompt": "What is )" + std::to_string(i) + R"( plus 1?", "answer": "1"})" + "\n";
  return text;
}

} // namespace

TEST_CASE("other data is refused by name, and taken where it is accepted") {
  const temporary_folder data;
  write_file(data / "rows.jsonl", rows_from(0, 40));
  const tiny_run run({.steps = 4, .source = "file = \"" + (data / "rows.jsonl").string() + "\"\nshuffle = false"});
  REQUIRE(run_to_end(run.start()).status == 0);

  write_file(data / "rows.jsonl", rows_from(100, 40));
  const auto refused = run_to_end(run.resume({"--set", "run.steps=6"}));
  CHECK(refused.status == 1);
  CHECK(refused.err.find("rows.jsonl (role prompts) is not the file of the run's start") != std::string::npos);
  CHECK(refused.err.find("--accept-data") != std::string::npos);
  CHECK(run.files().steps() == 4);

  const auto again = run_to_end(command_line({"replay", run.files().folder().string()}));
  CHECK(again.status == 1);
  CHECK(again.err.find("rows.jsonl (role prompts) is not the file of the run's start") != std::string::npos);
  CHECK(again.out.empty());

  for (const int count : {40, 30}) {
    CAPTURE(count);
    write_file(data / "rows.jsonl", rows_from(200, count));
    const auto taken =
        run_to_end(run.resume({"--accept-data", "--set", "run.steps=" + std::to_string(count == 40 ? 6 : 8)}));
    CAPTURE(taken.err);
    CHECK(taken.status == 0);
  }
  CHECK(run.files().steps() == 8);
  const auto same = run_to_end(run.resume({"--set", "run.steps=9"}));
  CAPTURE(same.err);
  CHECK(same.status == 0);
}

TEST_CASE("checkpoints come by the clock too, without being asked for") {
  const tiny_run run({.steps = 1000});
  running_command running(run.start({"--set", "run.checkpoint_every_s=0.05"}));
  REQUIRE(reaches(running, run.files(), 12));
  running.signal(SIGKILL);
  running.wait();
  const auto resumed = run_to_end(run.resume({"--set", "run.steps=20"}));
  CAPTURE(resumed.err);
  CHECK(resumed.status == 0);
  CHECK(resumed.err.find("going on from step") != std::string::npos);
  check_each_group_once(run.files(), 20);
}

TEST_CASE("a checkpoint that cannot be read is left out with a line, and the run goes on from the one before") {
  const tiny_run run({.steps = 6, .run = "checkpoint_every = 2\n"});
  REQUIRE(run_to_end(run.start()).status == 0);
  const auto newest = run.files().folder() / "checkpoints" / "step-000006";
  write_file(newest / "learner" / "version", "");
  write_file(newest / "version", "");
  const auto resumed = run_to_end(run.resume());
  CAPTURE(resumed.err);
  CHECK(resumed.status == 0);
  CHECK(resumed.err.find("step-000006 is damaged and left out") != std::string::npos);
  CHECK(resumed.err.find("going on from step 4") != std::string::npos);
  check_each_group_once(run.files(), 6);
}

TEST_CASE("a whole checkpoint that a role does not load is left for the one before, with a line") {
  for (const bool placed : {false, true}) {
    CAPTURE(placed);
    const tiny_run run({.steps = 6, .run = "checkpoint_every = 2\ncheckpoints_kept = 3\n"});
    REQUIRE(run_to_end(run.start(placed ? placed_apart(false) : strings{})).status == 0);
    for (const int step : {6, 4}) { // written so: every file is as it was meant to be
      const auto folder = run.files().folder() / "checkpoints" / ("step-00000" + std::to_string(step));
      write_file(folder / "model" / "config.json", "{}");
      std::filesystem::remove(folder / "manifest.json");
      write_file(folder / "manifest.json", millrace::run_files::make_manifest(folder, step));
    }
    const auto resumed = run_to_end(run.resume({"--set", "run.steps=8"}));
    CAPTURE(resumed.err);
    CHECK(resumed.status == 0);
    CHECK(resumed.err.find(
              "the checkpoint of step 6 does not load, so the run goes on from the one before it: learner/0: ")
          != std::string::npos);
    CHECK(resumed.err.find("the checkpoint of step 4 does not load") != std::string::npos);
    CHECK(resumed.err.find("going on from step 2") != std::string::npos);
    check_each_group_once(run.files(), 8);
  }
}

TEST_CASE("if no checkpoint loads, the run says why and ends; --before goes back as far as one likes") {
  const tiny_run run({.steps = 4, .run = "checkpoint_every = 2\n"});
  REQUIRE(run_to_end(run.start()).status == 0);
  const auto none = run_to_end(run.resume({"--before", "2"}));
  CHECK(none.status == 1);
  CHECK(none.err.find("no checkpoint of a step before 2") != std::string::npos);
  const auto back = run_to_end(run.resume({"--before", "4"}));
  CAPTURE(back.err);
  CHECK(back.status == 0);
  CHECK(back.err.find("going on from step 2") != std::string::npos);
  check_each_group_once(run.files(), 4);
}

} // namespace resume_test
