#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <csignal>
#include <filesystem>

namespace critic_test {

using namespace millrace::tests;

namespace {

strings all_apart() {
  auto sets = placed_apart(false);
  sets.insert(sets.end(), {"--set", "placement.critic.processes=1"});
  return sets;
}

/// Of each row, as they stand in the file: what the critic's step came to, beside the policy's own figures.
strings both_curves(const run_on_disk& files) {
  auto curve = files.learning_curve();
  std::size_t i = 0;
  for (const auto& row : files.metrics()) {
    for (const char* name : {"critic/vf_loss", "critic/grad_norm", "critic/values/mean", "critic/returns/mean"})
      curve.at(i) += row.at(name).dump() + " ";
    ++i;
  }
  return curve;
}

bool says(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

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

TEST_CASE("SIGKILL of the critic where that ends the run: one line, and resume comes to the same losses") {
  const tiny_pipeline pipeline{.steps = 24, .critic = true, .run = "checkpoint_every = 4\n"};
  const tiny_run whole(pipeline), broken(pipeline);
  REQUIRE(run_to_end(whole.start(all_apart())).status == 0);
  auto ending = all_apart();
  ending.insert(ending.end(), {"--set", "schedule.faults.learner=end"});
  running_command running(broken.start(ending));
  REQUIRE(reaches(running, broken.files(), 6));
  REQUIRE(kill(broken.files().process_of("critic/0"), SIGKILL) == 0);
  const auto end = running.wait(30);
  CAPTURE(running.err());
  CHECK(end.status == 1);
  CHECK(says(running.err(), "millrace: critic/0 is gone ("));
  CHECK(says(running.err(), "), and nobody else has its state; `millrace resume` goes on from the last checkpoint"));
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
    CHECK(end.status == 3);
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

TEST_CASE("a reference refreshed every second step: no KL right after, the same bit for bit in many processes and "
          "after a resume") {
  const tiny_pipeline pipeline{.steps = 7, .reference = true, .run = "checkpoint_every = 3\n"};
  const tiny_run alone(pipeline), apart(pipeline);
  const strings refreshed{"--set", "roles.frozen.refresh_every=2"};
  const auto one = run_to_end(alone.start(refreshed));
  CAPTURE(one.err);
  REQUIRE(one.status == 0);
  const auto rows = alone.files().metrics();
  for (std::size_t step = 0; step < rows.size(); ++step) { // the policy of steps 0, 2, 4, 6 is the reference
    CAPTURE(step);
    const double kl = rows.at(step).at("actor/kl_loss");
    CHECK((kl > 1e-7) == (step % 2 == 1));
  }
  auto sets = placed_apart(true);
  sets.insert(sets.end(), refreshed.begin(), refreshed.end());
  running_command running(apart.start(sets));
  REQUIRE(reaches(running, apart.files(), 4));
  const auto end =
      running.ended() ? running.wait() : (kill(apart.files().process_of("frozen/0"), SIGKILL), running.wait());
  CAPTURE(running.err());
  CAPTURE(running.err());
  REQUIRE(end.status == 0);
  CHECK(apart.files().learning_curve() == alone.files().learning_curve());
}

TEST_CASE("a trained critic's checkpoint serves as a reward model beside the rules, weighed by the policy") {
  const tiny_run ppo({.steps = 3, .critic = true});
  REQUIRE(run_to_end(ppo.start()).status == 0);
  const auto critic = ppo.files().folder() / "checkpoints/step-000003/critic/model";
  REQUIRE(std::filesystem::exists(critic / "model.safetensors"));

  const temporary_folder folder;
  auto text = text_of({.steps = 3});
  const auto put_before = [&](const std::string& what, const std::string& more) { text.insert(text.find(what), more); };
  put_before("[roles.prompts]", "[models.judge]\npath = \"" + critic.string() + "\"\n");
  put_before("[roles.learner]",
             "[roles.judge]\nkind = \"reward_model\"\nfrom = [\"rollout\"]\nmodel = \"judge\"\nclip = 5.0\n"
             "threads = 1\n"); // two processes would have fewer each, and so, on some processors, other last bits
  put_before("algorithm = \"grpo\"",
             "rewards = [ { name = \"late\" }, { name = \"judge\", weight = 0.5, normalise = \"group\" } ]\n");
  text.replace(text.find("from = [\"rules\"]"), 16, "from = [\"rules\", \"judge\"]");
  write_file(folder / "judged.toml", text);
  const auto run = [&](const std::string& name, const strings& sets) {
    auto command = command_line({"run", (folder / "judged.toml").string(), "--output", (folder / name).string()});
    command.insert(command.end(), sets.begin(), sets.end());
    const auto done = run_to_end(command);
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    return run_on_disk(folder / name);
  };
  const auto alone = run("alone", {});
  auto sets = placed_apart(false);
  sets.insert(sets.end(), {"--set", "placement.judge.processes=2"});
  const auto apart = run("apart", sets);
  CHECK(alone.learning_curve() == apart.learning_curve());
  const auto row = alone.metrics().front();
  const double judged = row.at("rewards/judge/mean"), late = row.at("rewards/late/mean");
  CHECK(judged != 0);
  CHECK(std::abs(row.at("reward").get<double>() - (late + 0.5 * judged)) < 1e-5);
}

TEST_CASE("the critic learns V-trace's targets, in one process and in many, and both train steps in parts") {
  for (const char* preset : {"bounded", "streaming"}) {
    CAPTURE(preset);
    const tiny_pipeline pipeline{.steps = 4, .preset = preset, .critic = true};
    const tiny_run apart(pipeline);
    auto sets = all_apart();
    sets.insert(sets.end(), {"--set", "roles.learner.algorithm=vtrace"});
    const auto done = run_to_end(apart.start(sets));
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    const auto rows = apart.files().metrics();
    CHECK(rows.size() == 4);
    for (const auto& row : rows) {
      CHECK(row.at("critic/vf_loss") > 0);
      CHECK(row.at("critic/returns/mean") > 0);
    }
    CHECK(rows.back().at("critic/values/mean") > 0); // it began with 0
  }
}

TEST_CASE("a critic alone at first: the policy makes versions of the same weights, then both train") {
  const tiny_run run({.steps = 5, .critic = true});
  const auto done = run_to_end(run.start({"--set", "roles.critic.alone_steps=3"}));
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  for (const auto& row : run.files().metrics()) {
    const bool alone = row.at("step") <= 3;
    CHECK(row.at("updates") == (alone ? 0 : 1));
    CHECK((row.at("actor/grad_norm") == 0) == alone);
    CHECK(row.at("critic/grad_norm") > 0);
    CHECK(row.at("reward_std") > 0);
  }
  CHECK(run_to_end(run.start({"--set", "roles.critic.alone_steps=5"})).status == 1);
}

} // namespace critic_test
