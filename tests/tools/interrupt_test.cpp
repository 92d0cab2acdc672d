#include "runtime/run_files/step_lines.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <set>

namespace interrupt_test {

using namespace millrace::tests;

TEST_CASE("Ctrl-C stops within seconds with a checkpoint that resume goes on from") {
  for (const bool placed : {false, true}) {
    CAPTURE(placed);
    const int steps = 40;
    const tiny_run run({.steps = steps});
    running_command running(run.start(placed ? placed_apart(false) : strings{}));
    REQUIRE(reaches(running, run.files(), 3));
    running.signal_group(SIGINT); // a terminal's Ctrl-C reaches every process
    const auto asked = std::chrono::steady_clock::now();
    const auto end = running.wait();
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - asked).count();
    CAPTURE(running.err());
    CHECK(end.status == 3);
    CHECK(took < 3);
    const auto reached = run.files().steps();
    REQUIRE(reached < steps);
    CHECK(run.files().status().at("checkpoint_step") == reached);
    CHECK(running.err().find("millrace resume") != std::string::npos);

    const auto resumed = run_to_end(run.resume());
    CAPTURE(resumed.err);
    CHECK(resumed.status == 0);
    CHECK(run.files().steps() == steps);
    check_each_group_once(run.files(), steps);
  }
}

TEST_CASE("Ctrl-C within a step keeps its trained parts: nothing is trained twice, nothing skipped, and replay makes "
          "it again") {
  const int steps = 24;
  const tiny_run run({.steps = steps, .preset = "streaming", .max_new_tokens = 32});
  const auto path = run.files().folder() / "replay.jsonl";
  const auto parts = [&] { return millrace::run_files::read_step_lines(path).size(); };
  // One group at a time, so that most moments lie between the parts of a step.
  auto command = run.start({"--set", "roles.rollout.slots=4"});
  int stopped_within = 0;
  for (std::size_t want = 7; want < 4 * steps; want += 9) {
    running_command running(command);
    wait_until([&] { return parts() >= want || running.ended(); }, 30);
    if (running.ended())
      break;
    running.signal(SIGINT);
    const auto end = running.wait();
    CAPTURE(running.err());
    REQUIRE(end.status == 3);
    stopped_within += parts() % 4 != 0;
    command = run.resume();
  }
  REQUIRE(stopped_within > 0);
  if (run.files().status().at("state") != "finished") {
    const auto done = run_to_end(run.resume());
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
  }
  std::set<std::uint64_t> groups;
  std::size_t next = 0;
  for (const auto& line : millrace::run_files::read_step_lines(path)) {
    const auto update = nlohmann::json::parse(line);
    CHECK(update.at("step") == next / 4 + 1);
    CHECK(update.at("part") == next % 4);
    ++next;
    for (const auto& group : update.at("groups"))
      CHECK(groups.insert(group.at("group").get<std::uint64_t>()).second);
  }
  CHECK(next == 4 * steps);
  CHECK(groups.size() == 4 * steps);
  std::size_t shown = 0;
  for (const auto& [step, trained] : run.files().trained_groups())
    shown += trained.size();
  CHECK(shown == groups.size());
  for (const auto& row : run.files().metrics()) { // one row a step, of all its parts
    CHECK(row.at("updates") == 4);
    CHECK(row.at("response_length/max") >= row.at("response_length/mean"));
  }
  const auto again = run_to_end(command_line({"replay", run.files().folder().string()}), 60);
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

TEST_CASE("a second Ctrl-C ends the run at once") {
  const tiny_run run({.steps = 1000});
  running_command running(run.start({"--set", "placement.learner.processes=1", "--set", "run.peer_timeout_ms=600000"}));
  REQUIRE(reaches(running, run.files(), 2));
  const auto learner = run.files().process_of("learner/0");
  REQUIRE(kill(learner, SIGSTOP) == 0); // it cannot write the checkpoint that the first Ctrl-C asks for
  running.signal(SIGINT);
  REQUIRE(wait_until([&] { return running.err().find("stopping") != std::string::npos; }));
  CHECK_FALSE(running.ended().has_value());
  running.signal(SIGINT);
  CHECK(running.wait(1).status == 130);
  CHECK(wait_until([&] { return !is_running(learner); }, 2));
}

TEST_CASE("SIGTERM, a closed terminal and a batch system's warning to every process of a run: it stops with a "
          "checkpoint") {
  ::signal(SIGHUP, SIG_DFL); // a run that nohup started leaves it alone
  for (const int number : {SIGTERM, SIGHUP, SIGUSR1}) {
    CAPTURE(number);
    const tiny_run run({.steps = 1000});
    running_command running(run.start(placed_apart(false)));
    REQUIRE(reaches(running, run.files(), 2));
    running.signal_group(number); // as batch systems send them
    const auto end = running.wait();
    CAPTURE(running.err());
    CHECK(end.status == 3);
    CHECK(running.out() == "");
    CHECK(run.files().status().at("state") == "stopped");
    CHECK(run.files().status().at("checkpoint_step") == run.files().steps());
  }
}

TEST_CASE("a run whose readers are gone trains to its end") {
  const tiny_run run({.steps = 6});
  auto command = run.start(placed_apart(false));
  std::string line = "exec 2>&1;";
  for (const auto& word : command)
    line += " '" + word + "'";
  const auto done =
      run_to_end({"/bin/sh", "-c", "(" + line + "; echo $? > '" + (run / "status").string() + "') | true"});
  CHECK(done.status == 0);
  CHECK(wait_until([&] { return read_file(run / "status") == "0\n"; }));
  CHECK(run.files().steps() == 6);
}

} // namespace interrupt_test
