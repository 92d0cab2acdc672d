#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <set>

namespace killed_process_test {

using namespace millrace::tests;

namespace {

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

bool says(const running_command& run, const std::string& text) {
  return run.err().find(text) != std::string::npos;
}

} // namespace

TEST_CASE("SIGKILL of a rollout, a verifier or a reference: it is started again and no prompt is lost") {
  const int steps = 60;
  for (const std::string instance : {"rollout/0", "rules/0", "frozen/0"}) {
    CAPTURE(instance);
    const tiny_run run({.steps = steps, .reference = true, .max_new_tokens = 24});
    running_command running(run.start(placed_apart(true)));
    REQUIRE(reaches(running, run.files(), 5));
    const auto victim = run.files().process_of(instance);
    REQUIRE(victim > 0);
    REQUIRE(kill(victim, SIGKILL) == 0);
    const auto end = running.wait(60);
    CAPTURE(running.err());
    CHECK(end.status == 0);
    CHECK(says(running, "process " + std::to_string(victim) + " is gone"));
    CHECK(says(running, "started again as process"));
    CHECK(run.files().process_of(instance) != victim);
    CHECK(run.files().steps() == steps);
    check_each_group_once(run.files(), steps);
    const auto ledger = run.files().status().at("ledger");
    CHECK(ledger.at("live") == 0);
  }
}

TEST_CASE("SIGKILL of a rollout that made answers which others go on with: what it held starts again, nothing is "
          "trained twice") {
  const int steps = 12;
  const tiny_run run({.steps = steps, .preset = "areal", .max_new_tokens = 240});
  running_command running(run.start({"--set", "placement.rollout.processes=2"}));
  REQUIRE(reaches(running, run.files(), 3));
  const auto victim = run.files().process_of("rollout/0");
  REQUIRE(victim > 0);
  REQUIRE(kill(victim, SIGKILL) == 0);
  const auto end = running.wait(60);
  CAPTURE(running.err());
  CHECK(end.status == 0);
  CHECK(run.files().steps() == steps);
  std::set<std::uint64_t> trained;
  for (const auto& [step, groups] : run.files().trained_groups())
    trained.insert(groups.begin(), groups.end());
  CHECK(trained.size() == std::size_t{steps} * groups_per_step);
  CHECK(run.files().status().at("ledger").at("live") == 0);
}

TEST_CASE("the groups of a killed rollout run elsewhere in under a second") {
  const tiny_run run({.steps = 2000, .max_new_tokens = 48});
  running_command running(run.start({"--set", "placement.rollout.processes=2", "--set", "run.peer_timeout_ms=60000"}));
  REQUIRE(reaches(running, run.files(), 3));
  const auto victim = run.files().process_of("rollout/1");
  REQUIRE(victim > 0);
  // Caught with answers half made: halted, and let go again should it have been between two steps.
  const auto holds_groups = [&] {
    kill(victim, SIGSTOP);
    const auto halted = unix_time();
    wait_until([&] { return run.files().status().value("written_wall_s", 0.0) > halted + 0.3; });
    const bool caught = run.files().status().at("waits").dump().find("generating on rollout/1") != std::string::npos;
    if (!caught)
      kill(victim, SIGCONT);
    return caught;
  };
  REQUIRE(wait_until(holds_groups));
  const auto before = run.files().steps();
  REQUIRE(kill(victim, SIGKILL) == 0);
  const auto killed = std::chrono::steady_clock::now();
  REQUIRE(reaches(running, run.files(), before + 1)); // needs every group that was there
  const double elsewhere = since(killed);
  MESSAGE("from SIGKILL until its groups were generated elsewhere, verified and trained: " << elsewhere << " s");
  CHECK(elsewhere < 1);
  CHECK(says(running, "process " + std::to_string(victim) + " is gone"));
}

} // namespace killed_process_test
