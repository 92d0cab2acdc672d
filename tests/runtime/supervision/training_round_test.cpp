#include "runtime/supervision/training_round.hpp"

#include <doctest/doctest.h>

namespace training_round_test {

using namespace millrace;
using supervision::training_round;

namespace {

using words = std::vector<std::string>;

batch_report report_of(std::uint64_t step, std::map<std::string, double> metrics = {}) {
  batch_report report;
  report.step = step;
  report.metrics = std::move(metrics);
  return report;
}

batch_report skipped(std::string complaint) {
  auto report = report_of(1);
  report.skipped = true;
  report.complaint = std::move(complaint);
  return report;
}

} // namespace

TEST_CASE("a leader that trains alone ends the step with its answer, once") { // TR-1
  training_round round(3, 0, "learner", {});
  CHECK(round.under_way());
  CHECK(round.awaited() == words{"learner"});
  CHECK(!round.other_answered("critic", report_of(3)));
  CHECK(!round.leader_answered(report_of(2)));
  const auto end = round.leader_answered(report_of(3, {{"reward", 1}}));
  REQUIRE(end);
  CHECK(!end->apply);
  CHECK(end->others.empty());
  CHECK(end->report.metrics.at("reward") == 1);
  CHECK(!round.under_way());
  CHECK(!round.leader_answered(report_of(3)));
}

TEST_CASE("with another trainer a step ends with the later of the two answers, and carries the figures of both") {
  for (const bool critic_first : {false, true}) { // TR-1, TR-2
    training_round round(1, 0, "learner", {"critic"});
    CHECK(round.awaited() == words{"learner", "critic"});
    const auto learner = report_of(1, {{"reward", 0.5}});
    auto critic = report_of(1, {{"critic/vf_loss", 2}});
    critic.critic_cut = 512;
    CHECK(!(critic_first ? round.other_answered("critic", critic) : round.leader_answered(learner)));
    CHECK(round.awaited() == (critic_first ? words{"learner"} : words{"critic"}));
    const auto end = critic_first ? round.leader_answered(learner) : round.other_answered("critic", critic);
    REQUIRE(end);
    CHECK(end->apply);
    CHECK(end->others == words{"critic"});
    CHECK(end->report.metrics.size() == 2);
    CHECK(end->report.critic_cut == 512);
    CHECK(round.awaited().empty());
  }
}

TEST_CASE("with two others a step ends with the last of the three answers, each of which counts once") { // TR-1, TR-2
  const auto learner = report_of(1, {{"reward", 0.5}});
  const auto critic = report_of(1, {{"critic/vf_loss", 2}}), judge = report_of(1, {{"judge/loss", 3}});
  training_round round(1, 2, "learner", {"judge", "critic"});
  const auto of_part = [](batch_report report) {
    report.part = 2;
    return report;
  };
  CHECK(round.awaited() == words{"learner", "critic", "judge"});
  CHECK(!round.other_answered("judge", judge)); // of another part
  CHECK(!round.other_answered("judge", of_part(judge)));
  CHECK(!round.other_answered("judge", of_part(report_of(1, {{"judge/loss", 9}}))));
  CHECK(!round.other_answered("stranger", of_part(critic)));
  CHECK(round.awaited() == words{"learner", "critic"});
  SUBCASE("the leader answers last") {
    CHECK(!round.other_answered("critic", of_part(critic)));
    CHECK(round.awaited() == words{"learner"});
    const auto end = round.leader_answered(of_part(learner));
    REQUIRE(end);
    CHECK(end->apply);
    CHECK(end->others == words{"critic", "judge"});
    CHECK(end->report.metrics
          == decltype(end->report.metrics){{"reward", 0.5}, {"critic/vf_loss", 2}, {"judge/loss", 3}});
  }
  SUBCASE("another trainer answers last") {
    CHECK(!round.leader_answered(of_part(learner)));
    CHECK(!round.leader_answered(of_part(report_of(1, {{"reward", 9}}))));
    CHECK(round.awaited() == words{"critic"});
    const auto end = round.other_answered("critic", of_part(critic));
    REQUIRE(end);
    CHECK(end->apply);
    CHECK(end->others == words{"critic", "judge"});
    CHECK(end->report.metrics
          == decltype(end->report.metrics){{"reward", 0.5}, {"critic/vf_loss", 2}, {"judge/loss", 3}});
  }
  SUBCASE("the leader is interrupted") {
    auto interrupted = of_part(learner);
    interrupted.interrupted = true;
    const auto end = round.leader_answered(interrupted);
    REQUIRE(end);
    CHECK(!end->apply);
    CHECK(end->others == words{"critic", "judge"}); // both wait to be told, whether they answered or not
    CHECK(end->report.metrics.size() == 1);
    CHECK(!round.other_answered("critic", of_part(critic)));
  }
  CHECK(!round.under_way());
}

TEST_CASE("an interrupted leader ends the step at once and the other trainer applies nothing, whether it answered or "
          "not") { // TR-2
  for (const bool critic_answered : {false, true}) {
    training_round round(1, 0, "learner", {"critic"});
    if (critic_answered)
      CHECK(!round.other_answered("critic", report_of(1)));
    auto interrupted = report_of(1);
    interrupted.interrupted = true;
    const auto end = round.leader_answered(interrupted);
    REQUIRE(end);
    CHECK(!end->apply);
    CHECK(!round.other_answered("critic", report_of(1))); // too late
  }
}

TEST_CASE("what any of them skipped is said") {
  training_round round(1, 0, "learner", {"critic"});
  CHECK(!round.other_answered("critic", skipped("the critic's loss is not finite")));
  const auto end = round.leader_answered(skipped("the loss is not finite"));
  REQUIRE(end);
  CHECK(end->report.complaint == "the loss is not finite; the critic's loss is not finite");
  CHECK(end->report.skipped);
}

} // namespace training_round_test
