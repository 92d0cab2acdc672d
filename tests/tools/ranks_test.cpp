#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ranks_test {

using namespace millrace::tests;

namespace {

strings with_ranks(int ranks, strings more = {}) {
  if (ranks > 1)
    more.insert(more.end(), {"--set", "placement.learner.processes=" + std::to_string(ranks)});
  // The same number of threads a rank, and micro-batches that ranks can share.
  more.insert(more.end(), {"--set", "roles.learner.threads=1", "--set", "roles.learner.micro_batch_tokens=64"});
  return more;
}

/// Bytes that each rank of the learner has pulled over the data plane.
std::map<std::string, std::uint64_t> pulled_by_ranks(const run_on_disk& files) {
  std::map<std::string, std::uint64_t> bytes;
  const auto status = files.status();
  for (const auto& lane : status.at("lanes"))
    if (const std::string to = lane.at("to"); to.starts_with("learner"))
      bytes[to] += lane.at("bytes_pulled").get<std::uint64_t>();
  return bytes;
}

bool says(const running_command& run, const std::string& text) {
  return run.err().find(text) != std::string::npos;
}

} // namespace

TEST_CASE("ranks: a learner of one, two and three processes has the same curve, and replays") {
  const int steps = 12;
  const tiny_run alone({.steps = steps});
  REQUIRE(run_to_end(alone.start(with_ranks(1))).status == 0);
  for (const int ranks : {2, 3}) {
    CAPTURE(ranks);
    const tiny_run run({.steps = steps});
    const auto end = run_to_end(run.start(with_ranks(ranks)));
    CAPTURE(end.err);
    REQUIRE(end.status == 0);
    CHECK(end.err.find("rank 1 of " + std::to_string(ranks)) != std::string::npos);
    CHECK(run.files().learning_curve() == alone.files().learning_curve());
    const auto replayed = run_to_end(command_line({"replay", run.files().folder().string()}));
    CAPTURE(replayed.out);
    CHECK(replayed.status == 0);
  }
}

TEST_CASE("ranks: each pulls its share of the groups, and no figure of a step depends on that") {
  const auto figures = [](const run_on_disk& files) {
    std::vector<std::string> rows;
    for (const auto& row : files.metrics())
      for (const auto& [name, value] : row.items())
        if (!name.starts_with("timing_s/") && !name.starts_with("perf/") && name != "wall_s")
          rows.push_back(name + " " + value.dump());
    return rows;
  };
  const tiny_pipeline pipeline{.steps = 12, .reference = true};
  const tiny_run alone(pipeline);
  REQUIRE(run_to_end(alone.start(with_ranks(1, {"--set", "placement.learner.processes=1"}))).status == 0);
  const auto all = pulled_by_ranks(alone.files()).at("learner/0");
  for (const int ranks : {2, 4}) {
    CAPTURE(ranks);
    const tiny_run run(pipeline);
    const auto end = run_to_end(run.start(with_ranks(ranks)));
    CAPTURE(end.err);
    REQUIRE(end.status == 0);
    CHECK(figures(run.files()) == figures(alone.files()));
    const auto shares = pulled_by_ranks(run.files());
    REQUIRE(shares.size() == static_cast<std::size_t>(ranks));
    std::uint64_t sum = 0;
    for (const auto& [rank, bytes] : shares) {
      CAPTURE(rank);
      sum += bytes;
      CHECK(static_cast<double>(bytes) == doctest::Approx(static_cast<double>(all) / ranks).epsilon(0.2));
    }
    CHECK(sum == all);
  }
}

TEST_CASE("ranks: where a critic is trained too, the first rank has all groups") {
  const tiny_run run({.steps = 12, .critic = true});
  const auto end = run_to_end(run.start(with_ranks(2)));
  CAPTURE(end.err);
  REQUIRE(end.status == 0);
  CHECK(pulled_by_ranks(run.files()).size() == 1);
}

TEST_CASE("ranks: a policy and a critic of two processes each") {
  const int steps = 8;
  const auto apart = [](strings more) {
    more.insert(more.end(), {"--set", "roles.critic.threads=1", "--set", "roles.critic.micro_batch_tokens=64"});
    return more;
  };
  const tiny_run alone({.steps = steps, .critic = true});
  REQUIRE(run_to_end(alone.start(apart(with_ranks(1)))).status == 0);
  for (const std::string shard : {"none", "full"}) {
    CAPTURE(shard);
    const tiny_run run({.steps = steps, .critic = true});
    const auto end = run_to_end(run.start(
        apart(with_ranks(2, {"--set", "placement.critic.processes=2", "--set", "placement.critic.shard=" + shard,
                             "--set", "placement.learner.shard=" + shard}))));
    CAPTURE(end.err);
    REQUIRE(end.status == 0);
    CHECK(run.files().learning_curve() == alone.files().learning_curve());
  }
}

TEST_CASE("ranks: what they share out changes no number, and a checkpoint of two goes on with three and with one") {
  const int steps = 8;
  const tiny_run alone({.steps = steps});
  REQUIRE(run_to_end(alone.start(with_ranks(1))).status == 0);
  for (const std::string what : {"optimizer", "full"}) {
    CAPTURE(what);
    const tiny_run shared({.steps = steps}), stopped({.steps = steps / 2});
    const strings shard{"--set", "placement.learner.shard=" + what};
    const auto whole = run_to_end(shared.start(with_ranks(3, shard)));
    CAPTURE(whole.err);
    REQUIRE(whole.status == 0);
    CHECK(shared.files().learning_curve() == alone.files().learning_curve());
    REQUIRE(run_to_end(stopped.start(with_ranks(2, shard))).status == 0);
    const auto end = run_to_end(
        stopped.resume({"--set", "run.steps=" + std::to_string(steps), "--set", "placement.learner.processes=3"}));
    CAPTURE(end.err);
    REQUIRE(end.status == 0);
    CHECK(stopped.files().learning_curve() == alone.files().learning_curve());
  }
}

TEST_CASE("ranks: where the death of one that kept a share of the moments ends the run: one line; a resume goes on") {
  const int steps = 40;
  for (const std::string role : {"learner", "critic"}) {
    CAPTURE(role);
    const tiny_pipeline pipeline{.steps = steps, .critic = role == "critic"};
    const tiny_run alone(pipeline), run(pipeline);
    REQUIRE(run_to_end(alone.start(with_ranks(1)), 60).status == 0);
    running_command running(run.start(
        with_ranks(1, {"--set", "placement." + role + ".processes=2", "--set", "placement." + role + ".shard=optimizer",
                       "--set", "run.checkpoint_every=2", "--set", "schedule.faults.learner=end"})));
    REQUIRE(reaches(running, run.files(), 6));
    REQUIRE(kill(run.files().process_of(role + "/1"), SIGKILL) == 0);
    const auto end = running.wait(60);
    CAPTURE(running.err());
    CHECK(end.status == 1);
    CHECK(says(running, "millrace: " + role + "/1 is gone (")); // its end or its connection's, whichever is seen first
    CHECK(says(running, "), and nobody else has its share of the optimizer's moments (placement." + role
                            + ".shard = \"optimizer\")"));
    CHECK(!says(running, "terminate called"));
    const auto resumed = run_to_end(run.resume(), 60);
    CAPTURE(resumed.err);
    REQUIRE(resumed.status == 0);
    CHECK(run.files().learning_curve() == alone.files().learning_curve());
  }
}

TEST_CASE("ranks: one that is killed or frozen is replaced, and changes no number") {
  const int steps = 60;
  const tiny_run alone({.steps = steps});
  REQUIRE(run_to_end(alone.start(with_ranks(1))).status == 0);
  for (const int signal : {SIGKILL, SIGSTOP}) {
    CAPTURE(signal);
    const tiny_run run({.steps = steps});
    running_command running(
        run.start(with_ranks(3, {"--set", "run.heartbeat_ms=100", "--set", "run.peer_timeout_ms=1000"})));
    REQUIRE(reaches(running, run.files(), 5));
    const auto victim = run.files().process_of("learner/2");
    REQUIRE(victim > 0);
    REQUIRE(kill(victim, signal) == 0);
    const auto end = running.wait(60);
    CAPTURE(running.err());
    CHECK(end.status == 0);
    CHECK(says(running, "process " + std::to_string(victim) + " is gone"));
    CHECK(says(running, "started again as process"));
    CHECK(run.files().learning_curve() == alone.files().learning_curve());
    check_each_group_once(run.files(), steps);
    CHECK(run.files().status().at("ledger").at("live") == 0);
  }
}

TEST_CASE(
    "ranks: a checkpoint of three goes on with one and with two, and has the curve of a run that was not stopped") {
  const int steps = 12;
  const tiny_run whole({.steps = steps});
  REQUIRE(run_to_end(whole.start(with_ranks(1))).status == 0);
  for (const int ranks : {1, 2}) {
    CAPTURE(ranks);
    const tiny_run run({.steps = 6});
    REQUIRE(run_to_end(run.start(with_ranks(3))).status == 0);
    const auto end = run_to_end(run.resume({"--set", "run.steps=" + std::to_string(steps), "--set",
                                            "placement.learner.processes=" + std::to_string(ranks == 1 ? 0 : ranks)}));
    CAPTURE(end.err);
    REQUIRE(end.status == 0);
    CHECK(run.files().learning_curve() == whole.files().learning_curve());
  }
}

} // namespace ranks_test
