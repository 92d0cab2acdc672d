#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <random>
#include <set>

namespace learner_death_test {

using namespace millrace::tests;

namespace {

constexpr int steps = 60;

bool says(const running_command& run, const std::string& text) {
  return run.err().find(text) != std::string::npos;
}

/// Where the run keeps its learners, and which of their processes dies.
struct victim {
  std::string process;
  strings placement;
  bool critic = false;
};

strings set_all(const strings& settings) {
  strings words;
  for (const auto& setting : settings)
    words.insert(words.end(), {"--set", setting});
  return words;
}

const std::vector<victim> victims{
    {.process = "learner/0", .placement = {"placement.learner.processes=1", "placement.rollout.processes=2"}},
    {.process = "learner/0", .placement = {"placement.learner.processes=2"}},
    {.process = "learner/1", .placement = {"placement.learner.processes=2", "placement.learner.shard=optimizer"}},
    {.process = "learner/1", .placement = {"placement.learner.processes=2", "placement.learner.shard=full"}},
    {.process = "critic/0", .placement = {"placement.critic.processes=1"}, .critic = true},
    {.process = "critic/1",
     .placement = {"placement.learner.processes=1", "placement.critic.processes=2", "placement.critic.shard=optimizer"},
     .critic = true}};

tiny_pipeline pipeline_of(const victim& who) {
  return {.steps = steps, .critic = who.critic, .run = "checkpoint_every = 4\n"};
}

/// The same number of threads for every placement, and micro-batches that ranks can share.
strings same_numbers(const victim& who) {
  strings settings{"roles.learner.threads=1", "roles.learner.micro_batch_tokens=64"};
  if (who.critic)
    settings.insert(settings.end(), {"roles.critic.threads=1", "roles.critic.micro_batch_tokens=64"});
  return settings;
}

strings curve_without_deaths(const victim& who) {
  const tiny_run run(pipeline_of(who));
  const auto end = run_to_end(run.start(set_all(same_numbers(who))), 60);
  CAPTURE(end.err);
  REQUIRE(end.status == 0);
  return run.files().learning_curve();
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
    ++found;
  return found;
}

} // namespace

TEST_CASE("SIGKILL of a learner at any step: the run goes on from its last checkpoint, with the curve of one that lost "
          "nobody") {
  for (unsigned seed = 0; const auto& who : victims) {
    CAPTURE(who.process);
    std::mt19937 random(++seed);
    const tiny_run run(pipeline_of(who));
    auto settings = same_numbers(who);
    settings.insert(settings.end(), who.placement.begin(), who.placement.end());
    running_command running(run.start(set_all(settings)));
    pid_t before = 0;
    for (const std::size_t first : {2U, 20U, 40U}) {
      const auto step = first + std::uniform_int_distribution<std::size_t>(0, 14)(random);
      CAPTURE(step);
      CAPTURE(running.err());
      REQUIRE(wait_until([&] { return running.ended() || run.files().process_of(who.process) != before; }));
      REQUIRE(reaches(running, run.files(), step));
      before = run.files().process_of(who.process);
      REQUIRE(kill(before, SIGKILL) == 0);
    }
    const auto end = running.wait(60);
    CAPTURE(running.err());
    REQUIRE(end.status == 0);
    CHECK(count(running.err(), who.process + " is gone (") == 3);
    CHECK(count(running.err(), " trained again") == 3);
    CHECK(run.files().process_of(who.process) != before);
    CHECK(run.files().learning_curve() == curve_without_deaths(who));
    check_each_group_once(run.files(), steps);
    CHECK(run.files().status().at("ledger").at("live") == 0);
    CHECK(run.files().status().at("state") == "finished");
  }
}

TEST_CASE("a learner that dies before the first checkpoint: the run begins again, and replays session by session") {
  const tiny_pipeline pipeline{.steps = steps};
  const tiny_run whole(pipeline), run(pipeline);
  const strings one_thread{"roles.learner.threads=1"};
  REQUIRE(run_to_end(whole.start(set_all(one_thread))).status == 0);
  running_command running(
      run.start(set_all({"roles.learner.threads=1", "placement.learner.processes=1", "run.listen=127.0.0.1:0"})));
  for (const std::size_t step : {3U, 9U}) {
    const auto before = run.files().process_of("learner/0");
    REQUIRE(wait_until(
        [&] { return running.ended() || (run.files().steps() >= step && run.files().process_of("learner/0") > 0); }));
    REQUIRE(kill(run.files().process_of("learner/0"), SIGKILL) == 0);
    REQUIRE(wait_until([&] { return running.ended() || run.files().process_of("learner/0") != before; }));
    REQUIRE(wait_until([&] { return running.ended() || run.files().steps() < step; }));
  }
  const auto end = running.wait(60);
  CAPTURE(running.err());
  REQUIRE(end.status == 0);
  CHECK(count(running.err(), "there is no checkpoint yet, so the run begins again; ") == 2);
  CHECK(count(running.err(), "watch it at ") == 1);
  CHECK(run.files().learning_curve() == whole.files().learning_curve());
  check_each_group_once(run.files(), steps);
  CHECK(run_to_end(command_line({"replay", run.files().folder().string()}), 60).status == 0);
}

TEST_CASE("an asynchronous run whose learner dies trains no group twice and leaves none behind") {
  const tiny_run run({.steps = steps, .preset = "bounded", .run = "checkpoint_every = 4\n"});
  running_command running(run.start(
      set_all({"placement.rollout.processes=2", "placement.learner.processes=1", "schedule.interrupt.mode=pause"})));
  REQUIRE(reaches(running, run.files(), 10));
  REQUIRE(kill(run.files().process_of("learner/0"), SIGKILL) == 0);
  const auto end = running.wait(60);
  CAPTURE(running.err());
  REQUIRE(end.status == 0);
  CHECK(says(running, "learner/0 is gone"));
  CHECK(run.files().steps() == steps);
  std::set<std::uint64_t> once;
  std::size_t trained = 0;
  for (const auto& [step, groups] : run.files().trained_groups()) {
    trained += groups.size();
    once.insert(groups.begin(), groups.end());
  }
  CHECK(trained == std::size_t{steps} * groups_per_step);
  CHECK(once.size() == trained);
  CHECK(run.files().status().at("ledger").at("live") == 0);
}

TEST_CASE("a learner that dies again and again without a further step ends the run with one line") {
  SUBCASE("whenever it is ready, and nobody waits for the scores that are asked for") {
    const tiny_run run({.steps = steps});
    const auto asked = run / "asked";
    write_file(run / "reward.py", "import pathlib, time\ndef compute_score(**given):\n  pathlib.Path(\""
                                      + asked.string() + "\").touch()\n  time.sleep(1000)\n"); // no step ends
    running_command running(run.start(
        set_all({"placement.learner.processes=1", "roles.rules.rules=[{type = \"python\", file = \""
                                                      + (run / "reward.py").string() + "\", deadline_ms = 900000}]"})));
    pid_t killed = 0;
    const auto is_ready = [&] {
      const auto log = run.files().log();
      const auto ready = log.rfind("learner/0    ready");
      return ready != std::string::npos && ready > log.rfind("learner/0    started")
             && run.files().process_of("learner/0") != killed && std::filesystem::exists(asked);
    };
    while (wait_until([&] { return running.ended() || is_ready(); }) && !running.ended()) {
      killed = run.files().process_of("learner/0");
      std::filesystem::remove(asked);
      kill(killed, SIGKILL);
    }
    const auto end = running.wait(30);
    CAPTURE(running.err());
    CHECK(end.status == 1);
    CHECK(count(running.err(), "the run begins again; no whole step is trained again") == 2);
    CHECK(count(running.err(), "millrace: learner/0 is gone (") == 1);
    CHECK(says(running, "), the last of 3 such deaths without a further step; `millrace resume` goes on"));
  }
  SUBCASE("at each of its starts") {
    const tiny_run run({.steps = steps});
    running_command running(run.start(set_all({"placement.learner.processes=1"})));
    pid_t killed = 0;
    while (wait_until([&] { return running.ended() || run.files().process_of("learner/0") != killed; })
           && !running.ended()) {
      killed = run.files().process_of("learner/0");
      kill(killed, SIGKILL);
    }
    const auto end = running.wait(30);
    CAPTURE(running.err());
    CHECK(end.status == 1);
    CHECK(count(running.err(), "millrace: learner/0 died 3 times in a row before it was ready") == 1);
  }
}

TEST_CASE("Ctrl-C after a learner has died stops the run as ever") {
  const tiny_run run({.steps = 1'000'000, .run = "checkpoint_every = 4\n"});
  running_command running(run.start(set_all({"placement.learner.processes=1"})));
  REQUIRE(reaches(running, run.files(), 6));
  REQUIRE(kill(run.files().process_of("learner/0"), SIGKILL) == 0);
  REQUIRE(
      wait_until([&] { return running.ended() || says(running, "is trained again") || says(running, "are trained"); }));
  REQUIRE(reaches(running, run.files(), run.files().steps() + 3));
  running.signal_group(SIGINT);
  const auto end = running.wait();
  CAPTURE(running.err());
  CHECK(end.status == 3);
  CHECK(run.files().status().at("state") == "stopped");
}

} // namespace learner_death_test
