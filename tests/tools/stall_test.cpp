#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <regex>

namespace stall_test {

using namespace millrace::tests;

TEST_CASE("a run that stands still says who waits for what, on whom, since when") {
  const tiny_run run({.steps = 1000});
  running_command running(run.start({"--set", "placement.rollout.processes=1", "--set", "run.peer_timeout_ms=600000",
                                     "--set", "run.stall_after_s=0.5"}));
  REQUIRE(reaches(running, run.files(), 2));
  const auto rollout = run.files().process_of("rollout/0");
  REQUIRE(kill(rollout, SIGSTOP) == 0);
  // Groups that are generating on rollout/0, or weights that it does not take.
  const std::regex on_the_rollout("no progress for [^\n]*who waits for whom:\n(?:[^\n]*\n)*?"
                                  "[^\n]* waits for [^\n]* on [^\n]*rollout/0[^\n]* since [0-9.]+ s");
  CAPTURE(running.err());
  CHECK(wait_until([&] { return std::regex_search(running.err(), on_the_rollout); }, 10));

  const auto before = run.files().steps();
  kill(rollout, SIGCONT);
  CHECK(wait_until([&] { return run.files().steps() > before + 1; }));
}

} // namespace stall_test
