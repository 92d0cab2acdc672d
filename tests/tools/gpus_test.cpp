#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <csignal>

namespace gpus_test {

using namespace millrace::tests;

namespace {

/// As if CUDA showed these GPUs: the program asks the variable before it looks for devices.
strings with_gpus(const std::string& gpus, const strings& command) {
  strings line{"/usr/bin/env", "CUDA_VISIBLE_DEVICES=" + gpus};
  line.insert(line.end(), command.begin(), command.end());
  return line;
}

const strings two_rollouts{"--set", "run.device=auto", "--set", "placement.rollout.processes=2"};

strings two_rollouts_with(const std::string& gpus) {
  auto sets = two_rollouts;
  sets.insert(sets.end(), {"--set", "placement.rollout.gpus=" + gpus, "--set", "placement.rules.processes=1"});
  return sets;
}

} // namespace

TEST_CASE("roles compute where their own device says, and one that is not here is named by its key") {
  const tiny_run run({.steps = 2});
  strings here{"--set", "run.device=cuda"};
  for (const auto* role : {"rollout", "learner"})
    here.insert(here.end(), {"--set", "roles." + std::string(role) + ".device=cpu"});
  const auto done = run_to_end(run.start(here), 60);
  CAPTURE(done.err);
  CHECK(done.status == 0); // nothing is left on the device that this machine may not have
  const tiny_run other({.steps = 2});
  const auto refused = run_to_end(with_gpus("", other.start({"--set", "roles.learner.device=cuda:7"})), 60);
  CAPTURE(refused.err);
  CHECK(refused.status == 1);
  CHECK(refused.err.find("roles.learner.device: found \"cuda:7\"") != std::string::npos);
}

TEST_CASE("each process of a role with gpus sees one GPU, and keeps it when it is started again") {
  const tiny_run run({.steps = 1'000'000});
  running_command running(with_gpus("3,5", run.start(two_rollouts_with("all"))));
  REQUIRE(reaches(running, run.files(), 2));
  const auto gpu_of = [&](const std::string& who) {
    return environment_of(run.files().process_of(who), "CUDA_VISIBLE_DEVICES");
  };
  CHECK(gpu_of("rollout/0") == "3");
  CHECK(gpu_of("rollout/1") == "5");
  CHECK(gpu_of("rules/0") == "3,5");
  const auto before = run.files().process_of("rollout/1");
  REQUIRE(kill(before, SIGKILL) == 0);
  REQUIRE(wait_until([&] { return running.ended() || run.files().process_of("rollout/1") != before; }));
  CHECK(wait_until([&] { return gpu_of("rollout/1") == "5"; })); // its process may not be the program yet
  running.signal(SIGINT);
  CHECK(running.wait(20).status == 3);
}

TEST_CASE("fewer GPUs than processes end a run before it starts, in one line with its place") {
  const tiny_run run;
  const auto refused = run_to_end(with_gpus("3", run.start(two_rollouts_with("all"))));
  CHECK(refused.status == 1);
  CHECK(refused.err
        == "--set placement.rollout.gpus=all: placement.rollout.gpus: found 1 GPU, want 2: each process has one\n");
  CHECK(!std::filesystem::exists(run.files().folder() / "metrics.jsonl"));
}

} // namespace gpus_test
