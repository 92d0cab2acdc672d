#include "actors/training_round.hpp"

#include <doctest/doctest.h>

using namespace millrace::actors;

namespace {

batch_report report_of(std::uint64_t step, std::map<std::string, double> metrics = {}) {
  batch_report report;
  report.step = step;
  report.metrics = std::move(metrics);
  return report;
}

} // namespace

TEST_CASE("without a critic a step ends with the policy's answer, once") { // TR-1
  training_round round(3, 0, "learner", "");
  CHECK(round.awaited() == "learner");
  CHECK(!round.critic_answered(report_of(3)));
  CHECK(!round.policy_answered(report_of(2)));
  const auto end = round.policy_answered(report_of(3, {{"reward", 1}}));
  REQUIRE(end);
  CHECK(!end->critic_applies);
  CHECK(end->report.metrics.at("reward") == 1);
  CHECK(!round.under_way());
  CHECK(!round.policy_answered(report_of(3)));
}

TEST_CASE("with a critic a step ends with the later of the two answers, and carries the figures of both") { // TR-1, TR-2
  for (const bool critic_first : {false, true}) {
    training_round round(1, 0, "learner", "critic");
    CHECK(round.awaited() == "learner, critic");
    const auto policy = report_of(1, {{"reward", 0.5}}), critic = report_of(1, {{"critic/vf_loss", 2}});
    CHECK(!(critic_first ? round.critic_answered(critic) : round.policy_answered(policy)));
    CHECK(round.awaited() == (critic_first ? "learner" : "critic"));
    const auto end = critic_first ? round.policy_answered(policy) : round.critic_answered(critic);
    REQUIRE(end);
    CHECK(end->critic_applies);
    CHECK(end->report.metrics.size() == 2);
    CHECK(round.awaited().empty());
  }
}

TEST_CASE("an interrupted policy ends the step at once and the critic applies nothing, whether it answered or not") { // TR-2
  for (const bool critic_answered : {false, true}) {
    training_round round(1, 0, "learner", "critic");
    if (critic_answered)
      CHECK(!round.critic_answered(report_of(1)));
    auto interrupted = report_of(1);
    interrupted.interrupted = true;
    const auto end = round.policy_answered(interrupted);
    REQUIRE(end);
    CHECK(!end->critic_applies);
    CHECK(!round.critic_answered(report_of(1))); // too late
  }
}

TEST_CASE("what either of them skipped is said") {
  training_round round(1, 0, "learner", "critic");
  auto skipped = report_of(1);
  skipped.skipped = true;
  skipped.complaint = "the critic's loss is not finite";
  CHECK(!round.critic_answered(skipped));
  auto own = report_of(1);
  own.complaint = "the loss is not finite";
  own.skipped = true;
  const auto end = round.policy_answered(own);
  REQUIRE(end);
  CHECK(end->report.complaint == "the loss is not finite; the critic's loss is not finite");
  CHECK(end->report.skipped);
}
