#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <csignal>

using namespace millrace::tests;

namespace {

strings all_apart() {
  auto sets = placed_apart(false);
  sets.insert(sets.end(), {"--set", "placement.critic.processes=1"});
  return sets;
}

/// Of each row, as they stand in the file: what the critic's step came to, beside the policy's own figures.
strings both_curves(const run_files& files) {
  auto curve = files.learning_curve();
  std::size_t i = 0;
  for (const auto& row : files.metrics()) {
    for (const char* name : {"critic/vf_loss", "critic/grad_norm", "critic/values/mean", "critic/returns/mean"})
      curve.at(i) += row.at(name).dump() + " ";
    ++i;
  }
  return curve;
}

bool says(const std::string& text, const std::string& words) { return text.find(words) != std::string::npos; }

} // namespace

TEST_CASE("PPO has the same losses of policy and critic, bit for bit, in one process and in many") {
  const tiny_pipeline pipeline{.steps = 6, .reference = true, .critic = true};
  const tiny_run alone(pipeline), apart(pipeline);
  const auto one = run_to_end(alone.start());
  CAPTURE(one.err);
  REQUIRE(one.status == 0);
  auto sets = all_apart();
  sets.insert(sets.end(), {"--set", "placement.frozen.processes=1"});
  const auto many = run_to_end(apart.start(sets));
  CAPTURE(many.err);
  REQUIRE(many.status == 0);
  const auto curve = both_curves(alone.files());
  REQUIRE(curve.size() == 6);
  CHECK(both_curves(apart.files()) == curve);
  CHECK(apart.files().process_of("critic/0") > 0);
  for (const auto& row : alone.files().metrics())
    CHECK(row.at("critic/grad_norm") > 0);
  CHECK(alone.files().metrics().front().at("critic/values/mean") == 0); // a fresh head
  CHECK(alone.files().metrics().back().at("critic/values/mean") != 0);
}

TEST_CASE("SIGKILL of the critic ends the run with one line, and resume comes to the same losses") {
  const tiny_pipeline pipeline{.steps = 24, .critic = true, .run = "checkpoint_every = 4\n"};
  const tiny_run whole(pipeline), broken(pipeline);
  REQUIRE(run_to_end(whole.start(all_apart())).status == 0);
  running_command running(broken.start(all_apart()));
  REQUIRE(reaches(running, broken.files(), 6));
  REQUIRE(kill(broken.files().process_of("critic/0"), SIGKILL) == 0);
  const auto end = running.wait(30);
  CAPTURE(running.err());
  CHECK(end.status == 1);
  CHECK(says(running.err(), "the process of the critic ended: go on from the last checkpoint with `millrace resume`"));
  const auto resumed = run_to_end(broken.resume());
  CAPTURE(resumed.err);
  REQUIRE(resumed.status == 0);
  CHECK(both_curves(broken.files()) == both_curves(whole.files()));
  check_each_group_once(broken.files(), 24);
}

TEST_CASE("Ctrl-C with a critic: a checkpoint of both, and no group is trained twice or skipped") {
  for (const bool placed : {false, true}) {
    CAPTURE(placed);
    const tiny_pipeline pipeline{.steps = 30, .critic = true};
    const tiny_run whole(pipeline), stopped(pipeline);
    REQUIRE(run_to_end(whole.start()).status == 0);
    running_command running(stopped.start(placed ? all_apart() : strings{}));
    REQUIRE(reaches(running, stopped.files(), 3));
    running.signal_group(SIGINT);
    const auto end = running.wait();
    CAPTURE(running.err());
    CHECK(end.status == 0);
    const auto resumed = run_to_end(stopped.resume());
    CAPTURE(resumed.err);
    REQUIRE(resumed.status == 0);
    check_each_group_once(stopped.files(), 30);
    CHECK(both_curves(stopped.files()) == both_curves(whole.files()));
  }
}

TEST_CASE("a critic runs beside an asynchronous schedule, and nothing is left behind") {
  const tiny_run run({.steps = 12, .preset = "bounded", .critic = true});
  const auto done = run_to_end(run.start(all_apart()));
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  CHECK(run.files().steps() == 12);
  CHECK(run.files().status().at("ledger").at("live") == 0);
}
