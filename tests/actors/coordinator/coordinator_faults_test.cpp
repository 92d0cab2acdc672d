#include "tests/actors/coordinator/stand_ins.hpp"
#include "tests/support/eventually.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace coordinator_faults_test {

using namespace millrace;
using tests::evaluator_stand_in;
using tests::has;
using tests::rollout_stand_in;
using tests::run_of_stand_ins;
using tests::trainer_stand_in;

TEST_CASE("why a process could not go on is said at once, and again if its role is given up") {
  run_of_stand_ins run;
  for (int i = 0; i < 3 && !run.outcome; ++i) {
    const auto start = run.start_of_role("rules/0");
    run.test.ask(run.coordinator, join_run{start.token, start.what.role});
    run.test.ask(run.coordinator,
                 process_failed{.role = start.what.role, .host = "", .why = "models.tiny.path: nothing there"});
    run.send(process_ended{start.pid, "", start.what.role, "exit status 1"});
  }
  REQUIRE(run.outcome);
  CHECK(run.outcome->line
        == "rules/0 died 3 times in a row before it was ready, the last time of exit status 1: models.tiny.path: "
           "nothing there");
  CHECK(run.log().find("models.tiny.path: nothing there") != std::string::npos);
}

TEST_CASE("groups that nobody can score end the run with their reason, and are not trained") {
  run_of_stand_ins run({"run.steps=3"});
  const auto heard = std::make_shared<trainer_stand_in>();
  const auto learner = run.bring_up("learner/0");
  run.send(run.leader_ready(learner.role, learner.node, heard));
  const auto rules = run.bring_up("rules/0");
  auto ready = run.adder_ready(rules.role, rules.node);
  ready.column_adder =
      handle<adds_columns>(run.system.start("rules", tests::adder_stand_in("format: match limit exceeded")));
  run.send(ready);
  const auto rollout = run.bring_up("rollout/0");
  run.send(run.rollout_ready(rollout.role, rollout.node, std::make_shared<rollout_stand_in>()));
  REQUIRE(run.outcome);
  CHECK(!run.outcome->ok);
  CHECK(run.outcome->line.starts_with("roles.rules: 16 of the last 16 answers were lost for want of a score"));
  CHECK(run.outcome->line.ends_with(": format: match limit exceeded"));
  CHECK(heard->training.empty());
  const auto log = run.log();
  CHECK(log.find("dropped: rules: format") == log.rfind("dropped: rules: format")); // an example, not all of them
}

TEST_CASE("a process that does not come up within its deadline is killed, whether it has joined or not") {
  run_of_stand_ins run({"run.join_deadline_s=10"});
  const auto rules = run.start_of_role("rules/0");
  run.bring_up("learner/0");
  run.bring_up("rollout/0");
  run.system.advance(std::chrono::seconds(9));
  CHECK(run.killed.empty());
  run.system.advance(std::chrono::seconds(2));
  CHECK(run.killed == std::vector<std::int64_t>{rules.pid});
  CHECK(run.log().find("has not joined within") != std::string::npos);
  run.send(process_ended{rules.pid, "", rules.what.role, "signal 9 (Killed)"});
  CHECK(run.starts.back().what.role == role_instance{"rules", 0, 2});
}

TEST_CASE("a run that ends kills the processes that are not up, whether they have joined or not") {
  run_of_stand_ins run;
  const auto rules = run.start_of_role("rules/0"), learner = run.start_of_role("learner/0");
  run.join(learner.token, learner.what.role);
  const auto rollout = run.bring_up("rollout/0");
  run.send(role_failed{.who = rollout.role, .why = "no such file"});
  REQUIRE(run.outcome);
  std::sort(run.killed.begin(), run.killed.end());
  CHECK(run.killed == std::vector<std::int64_t>{std::min(rules.pid, learner.pid), std::max(rules.pid, learner.pid)});
  CHECK(has(rollout.heard->told, "end"));
}

TEST_CASE("the process of the policy dies: its session ends when no other process of it is left") {
  run_of_stand_ins run;
  const auto heard = run.start_everything();
  const auto learner = run.start_of_role("learner/0"), rules = run.start_of_role("rules/0"),
             rollout = run.start_of_role("rollout/0");
  run.finish_training(*heard);
  run.send(process_ended{learner.pid, "", learner.what.role, "signal 9 (Killed)"});
  CHECK(!run.outcome);
  CHECK(heard->asked.back() != "interrupt 2"); // it is gone
  std::sort(run.killed.begin(), run.killed.end());
  CHECK(run.killed == std::vector<std::int64_t>{std::min(rules.pid, rollout.pid), std::max(rules.pid, rollout.pid)});
  run.send(process_ended{rules.pid, "", rules.what.role, "signal 9 (Killed)"});
  CHECK(!run.outcome);
  run.send(process_ended{rollout.pid, "", rollout.what.role, "signal 9 (Killed)"});
  REQUIRE(run.outcome);
  CHECK(run.outcome->goes_on);
  CHECK(run.outcome->step == 1);
  CHECK(run.outcome->line == "learner/0 is gone (signal 9 (Killed))");
  CHECK(has(run.own_agent->told, "end"));
}

TEST_CASE("the process of the policy dies, and another one does not end: the session does not wait for it") {
  run_of_stand_ins run;
  run.start_everything();
  const auto learner = run.start_of_role("learner/0");
  run.send(process_ended{learner.pid, "", learner.what.role, "signal 9 (Killed)"});
  run.system.advance(std::chrono::seconds(4));
  REQUIRE(run.outcome);
  CHECK(run.outcome->goes_on);
}

TEST_CASE("the process of the policy dies where the file says that this ends the run") {
  run_of_stand_ins run({"schedule.faults.learner=end"});
  run.start_everything();
  const auto learner = run.start_of_role("learner/0");
  run.send(process_ended{learner.pid, "", learner.what.role, "signal 9 (Killed)"});
  REQUIRE(run.outcome);
  CHECK(!run.outcome->goes_on);
  CHECK(run.outcome->line
        == "learner/0 is gone (signal 9 (Killed)), and nobody else has its state; `millrace resume` goes on from the "
           "last checkpoint");
}

TEST_CASE("a step that fails because the policy's process is gone waits for the news of its death") {
  run_of_stand_ins run;
  const auto heard = std::make_shared<trainer_stand_in>();
  const auto process = run.bring_up("learner/0");
  const auto ready = run.leader_ready(process.role, process.node, heard);
  run.send(ready);
  const auto rules = run.bring_up("rules/0");
  run.send(run.adder_ready(rules.role, rules.node));
  const auto rollout = run.bring_up("rollout/0");
  run.send(run.rollout_ready(rollout.role, rollout.node, std::make_shared<rollout_stand_in>()));
  REQUIRE(heard->training.size() == 1);
  actors::end_actor(ready.trainer);
  run.system.run();
  heard->training.clear(); // the request fails
  run.system.run();
  CHECK(!run.outcome);
  run.send(process_ended{process.pid, "", process.role, "signal 9 (Killed)"});
  run.system.advance(std::chrono::seconds(4));
  REQUIRE(run.outcome);
  CHECK(run.outcome->goes_on);
}

namespace {

/// A run whose learner has two ranks that share out groups, in its first step.
struct two_ranks {
  run_of_stand_ins run{{"placement.learner.processes=2", "roles.rules.rules=[{type=\"number\"}]"}};
  std::shared_ptr<trainer_stand_in> first = std::make_shared<trainer_stand_in>(),
                                    second = std::make_shared<trainer_stand_in>();
  std::shared_ptr<tests::rank_stand_in> seat = std::make_shared<tests::rank_stand_in>();

  two_ranks() {
    const auto leader = run.bring_up("learner/0");
    auto ready = run.leader_ready(leader.role, leader.node, first);
    ready.rank = run.hire<joins_ranks>(tests::rank_stand_in::setup(seat));
    run.send(ready);
    follower_up();
    const auto rules = run.bring_up("rules/0");
    run.send(run.adder_ready(rules.role, rules.node));
    const auto rollout = run.bring_up("rollout/0");
    run.send(run.rollout_ready(rollout.role, rollout.node, std::make_shared<rollout_stand_in>()));
    REQUIRE(first->training.size() == 1);
  }

  void follower_up() {
    const auto process = run.bring_up("learner/1");
    run.send(role_ready{
        .who = process.role,
        .node = process.node,
        .keeper = run.hire<keeps_groups>(trainer_stand_in::setup(second)),
        .rank = run.hire<joins_ranks>(tests::rank_stand_in::setup(std::make_shared<tests::rank_stand_in>()))});
  }

  void kill_follower() {
    const auto follower = run.start_of_role("learner/1");
    run.send(process_ended{follower.pid, "", follower.what.role, "signal 9 (Killed)"});
  }
};

std::vector<std::uint64_t> sorted(std::vector<std::uint64_t> groups) {
  std::ranges::sort(groups);
  return groups;
}

} // namespace

TEST_CASE("ranks that share out groups keep each group once; what a rank kept that dies, the first one fetches before "
          "they connect again") {
  two_ranks all;
  const auto kept = all.second->fetched;
  auto every = all.first->fetched;
  every.insert(every.end(), kept.begin(), kept.end());
  CHECK(sorted(every) == sorted(all.first->training[0].first.groups));
  CHECK(!kept.empty());
  CHECK(!all.first->fetched.empty());
  CHECK(all.seat->formed == std::vector<std::uint32_t>{1});
  all.first->fetched.clear();
  all.kill_follower();
  CHECK(sorted(all.first->fetched) == sorted(kept));
  CHECK(all.seat->parted == 1);
  CHECK(all.seat->formed.size() == 1);
  all.follower_up();
  CHECK(all.seat->formed == std::vector<std::uint32_t>{1, 2});
  CHECK(all.second->fetched == kept);
  all.run.finish_training(*all.first);
  CHECK(all.first->training.size() == 2);
  CHECK(!all.run.outcome);
  const auto trained = all.first->training[0].first.groups;
  CHECK(std::ranges::all_of(trained, [&](auto group) { return tests::has_id(all.second->forgotten, group); }));
}

TEST_CASE("a group that a rank kept and that nobody has any more brings the run back to its last checkpoint") {
  two_ranks all;
  all.first->finds_columns = false;
  all.kill_follower();
  all.run.system.advance(std::chrono::seconds(4));
  REQUIRE(all.run.outcome);
  CHECK(all.run.outcome->goes_on);
  CHECK(all.run.outcome->line == "learner/1 is gone (signal 9 (Killed))");
}

} // namespace coordinator_faults_test
