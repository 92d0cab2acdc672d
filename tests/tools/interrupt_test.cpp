#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <csignal>

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
    CHECK(end.status == 0);
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
