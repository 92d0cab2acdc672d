#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/scheduler.hpp"

#include <doctest/doctest.h>

namespace waits_test {

using namespace millrace;
using namespace millrace::schedule;

namespace {

std::string all(const scheduler& it, double now_s) {
  std::string text;
  for (const auto& wait : it.waits(now_s))
    text += sentence(wait, now_s) + "\n";
  return text;
}

config two_by(std::uint32_t steps, const char* name) {
  auto result = preset(name);
  if (std::string(name) == "bounded")
    result.gate.depth = 1;
  result.groups_per_step = 2;
  result.steps = steps;
  return result;
}

} // namespace

TEST_CASE("a run without a rollout worker says so") {
  scheduler it(two_by(3, "synchronous"));
  CHECK(all(it, 4)
        == "run waits for a rollout worker: there is none; since 0.0 s, for 4.0 s\n"
           "learner waits for 2 of 2 groups: 2 not started; since 0.0 s, for 4.0 s\n");
}

TEST_CASE("the learner names the groups it waits for, where they are and since when") {
  scheduler it(two_by(3, "synchronous"));
  it.on(worker_joined{0, 2, 0, "rollout/0"}, 1);
  it.on(group_finished{0, 1, {{0, 5}}}, 3.5);
  CHECK(all(it, 5)
        == "learner waits for 2 of 2 groups: 0 (finished for 1.5 s), 1 (generating on rollout/0 for 4.0 s); since "
           "0.0 s, for 5.0 s\n"
           "group 0 waits for the columns that the learner needs; since 3.5 s, for 1.5 s\n"
           "rollout/0 waits for the learner to finish step 0 before it starts more: 2 groups live, 0 groups trained; "
           "the first still open is 0 (finished for 1.5 s); since 3.5 s, for 1.5 s\n");
  CHECK(it.waits(20).front().on == std::vector<std::string>{"group 0", "group 1"});
}

TEST_CASE("a batch in training, weights on their way and the gate are waits on somebody") {
  scheduler it(two_by(3, "one_step_off"));
  it.on(worker_joined{0, 3, 0, "rollout/0"}, 1);
  it.on(worker_joined{1, 1, 0, "rollout/1"}, 1);
  for (group_id id : {0, 1}) {
    it.on(group_finished{id, 1, {{0, 5}}}, 2);
    it.on(group_ready{id, 1}, 2);
  }
  CHECK(all(it, 3)
        == "run waits for the learner to train step 0 (2 groups, 10 tokens); since 2.0 s, for 1.0 s\n"
           "rollout/0 waits for the learner to finish step 0 before it starts more: 4 groups live, 0 groups trained; "
           "the first still open is 2 (generating on rollout/0 for 2.0 s); since 2.0 s, for 1.0 s\n");
  it.on(batch_trained{0, 10}, 4);
  it.on(group_finished{3, 1, {{0, 5}}}, 5);
  CHECK(all(it, 6)
        == "learner waits for 2 of 2 groups: 2 (generating on rollout/0 for 5.0 s), 3 (finished for 1.0 s); since "
           "4.0 s, for 2.0 s\n"
           "group 3 waits for the columns that the learner needs; since 5.0 s, for 1.0 s\n"
           "rollout/0 waits for its 1 running group to end before it takes version 1 (it runs 0): 2 (generating on "
           "rollout/0 for 5.0 s); since 4.0 s, for 2.0 s\n"
           "rollout/1 waits for version 1 (it runs 0); since 5.0 s, for 1.0 s\n");
  it.on(version_acknowledged{1, 1}, 7);
  CHECK(it.waits(20).back().kind == wait_kind::gate);
  CHECK(it.waits(20).back().on == std::vector<std::string>{"rollout/0"});
}

TEST_CASE("groups without a place, the staleness bound and the last checkpoint are waits too") {
  scheduler it(two_by(1, "synchronous"));
  it.on(worker_joined{0, 2, 0, "rollout/0"}, 1);
  it.on(worker_lost{0}, 2);
  CHECK(it.waits(20)[2].who == "group 0");
  CHECK(sentence(it.waits(2.5)[2], 2.5)
        == "group 0 waits for a place on a rollout worker, with 1 more group; since 2.0 s, for 0.5 s");
  it.on(worker_joined{1, 2, 0, "rollout/1"}, 3);
  for (group_id id : {0, 1}) {
    it.on(group_finished{id, 2, {}}, 4);
    it.on(group_ready{id, 2}, 4);
  }
  it.on(batch_trained{0, 0}, 5);
  CHECK(all(it, 6) == "run waits for the checkpoint of step 1; since 5.0 s, for 1.0 s\n");

  auto tight = two_by(9, "bounded");
  tight.stale.max = 1;
  scheduler bound(tight);
  bound.on(worker_joined{0, 5, 0, "rollout/0"}, 1);
  for (group_id id : {2, 3}) {
    bound.on(group_finished{id, 1, {{0, 5}}}, 2);
    bound.on(group_ready{id, 1}, 2);
  }
  bound.on(batch_trained{0, 10}, 3);
  bound.on(version_acknowledged{0, 1}, 4);
  for (group_id id : {4, 5}) {
    bound.on(group_finished{id, 1, {{1, 5}}}, 5);
    bound.on(group_ready{id, 1}, 5);
  }
  CHECK(sentence(bound.waits(6).front(), 6)
        == "learner waits for 2 more groups though 2 are ready, so that none gets older than 1 version: 0 (generating "
           "on rollout/0 for 5.0 s), "
           "1 (generating on rollout/0 for 5.0 s); since 3.0 s, for 3.0 s");
}

// The incidents of other systems that began with somebody waiting and nobody saying for what.

// SkyRL #1173 (29 h), NeMo-RL #3238: a generation that is lost without a word holds its place, its credit and the
// batch.
TEST_CASE("a group that nobody hears of any more is named, and given to another worker after its deadline") {
  auto set = two_by(3, "synchronous");
  set.faults.call_deadline_s = 900;
  set.faults.attempts = 2;
  scheduler it(set);
  it.on(worker_joined{0, 2, 0, "rollout/0"}, 0);
  it.on(group_finished{1, 1, {{0, 5}}}, 3);
  it.on(group_ready{1, 1}, 3);
  it.on(worker_joined{1, 3, 0, "rollout/1"}, 3);
  CHECK(
      all(it, 104403)
          .starts_with("learner waits for 1 of 2 groups: 0 (generating on rollout/0 for 104403.0 s); since 0.0 s, for "
                       "104403.0 s\n"));
  CHECK(it.overdue(900).empty());
  REQUIRE(it.overdue(901).size() == 1);
  const auto actions = it.on(it.overdue(901).front(), 901);
  REQUIRE(actions.size() == 2);
  CHECK(std::get<cancel>(actions[0]).worker == 0);
  CHECK(std::get<admit>(actions[1]).worker == 1);
  CHECK(it.overdue(1000).empty());
  // A second time: its attempts are used up, and the next prompt has its credit.
  const auto again = it.on(it.overdue(1802).at(0), 1802);
  REQUIRE(again.size() == 3);
  CHECK(std::get<drop>(again[1]).why == "2 attempts lost, the last one because rollout/1 did not finish it in time");
  CHECK(std::get<admit>(again[2]).group == 2);
  CHECK(it.audit() == "");
}

TEST_CASE("columns that never come are a wait with a deadline too") {
  auto set = two_by(3, "synchronous");
  set.faults.call_deadline_s = 10;
  scheduler it(set);
  it.on(worker_joined{0, 2, 0, "rollout/0"}, 0);
  it.on(group_finished{0, 1, {{0, 5}}}, 3);
  CHECK(it.waits(20)[1].kind == wait_kind::columns);
  CHECK(it.overdue(10.5).size() == 1); // group 1
  CHECK(it.overdue(13.5).size() == 2);
  it.on(group_overdue{0, 1}, 13.5);
  CHECK(it.books().sums().lost == 5);
  CHECK(it.audit() == "");
}

// NeMo-RL #2717: weights that one engine never takes held everybody's version.
TEST_CASE("a worker that does not take its weights in time is named with what it runs and what it is left out for") {
  auto set = two_by(9, "nemo_ready_first");
  set.publish.deadline_s = 60;
  scheduler it(set);
  it.on(worker_joined{0, 2, 0, "rollout/0"}, 1);
  it.on(worker_joined{1, 2, 0, "rollout/1"}, 1);
  for (group_id id : {0, 1}) {
    it.on(group_finished{id, 1, {{0, 5}}}, 2);
    it.on(group_ready{id, 1}, 2);
  }
  it.on(batch_trained{0, 10}, 10);
  it.on(version_acknowledged{0, 1}, 12);
  CHECK(it.late_weights(70).empty());
  REQUIRE(it.late_weights(71).size() == 1);
  it.on(it.late_weights(71).front(), 71);
  CHECK(it.late_weights(200).empty()); // once
  CHECK(it.at().version == 1);
  CHECK(all(it, 71).find(
            "rollout/1 waits for version 1 (it runs 0 and is left out until it runs 1); since 10.0 s, for 61.0 s\n")
        != std::string::npos);
  it.on(worker_lost{0}, 72); // nobody else: v stays, and what rollout/1 is to run is still what it waits for
  CHECK(it.at().version == 1);
  CHECK(it.takes_groups(1) == false);
  it.on(version_acknowledged{1, 1}, 80);
  CHECK(it.takes_groups(1));
  CHECK(it.audit() == "");
}

// NeMo-RL #3938: a prompt that cannot be answered leaves a hole in an ordered batch.
TEST_CASE("a hole in an ordered batch is filled by the next prompt, and the learner waits for that one by name") {
  scheduler it(two_by(3, "one_step_off"));
  it.on(worker_joined{0, 8, 0, "rollout/0"}, 1);
  it.on(group_failed{0, 1, false, 0, "no answer in the row"}, 2);
  it.on(group_finished{1, 1, {{0, 5}}}, 3);
  it.on(group_ready{1, 1}, 3);
  CHECK(it.waits(20).front().what == "1 of 2 groups: 2 (generating on rollout/0 for 19.0 s)");
}

// NeMo-RL #2899, prime-rl #3313: at the end of the data the last batch can never be full.
TEST_CASE("when prompts end the learner waits for those that are left and for no others") {
  scheduler it(two_by(9, "one_step_off"));
  it.on(worker_joined{0, 8, 0, "rollout/0"}, 1);
  it.on(prompts_exhausted{3}, 1);
  for (group_id id : {0, 1}) {
    it.on(group_finished{id, 1, {{0, 5}}}, 2);
    it.on(group_ready{id, 1}, 2);
  }
  it.on(batch_trained{0, 10}, 3);
  CHECK(all(it, 4)
        == "learner waits for 1 of 1 group: 2 (generating on rollout/0 for 3.0 s); since 3.0 s, for 1.0 s\n");
}

// prime-rl #2912, #3050: a gate, a worker or the learner that waits for a version after the last one.
TEST_CASE("nobody waits for a version that nobody will publish") {
  scheduler it(two_by(2, "one_step_off"));
  it.on(worker_joined{0, 8, 0, "rollout/0"}, 1);
  for (std::uint32_t step = 0; step < 2; ++step) {
    for (group_id id : {2 * step, 2 * step + 1}) {
      it.on(group_finished{id, 1, {{0, 5}}}, 2);
      it.on(group_ready{id, 1}, 2);
    }
    for (const auto& wait : it.waits(4))
      CHECK((wait.kind != wait_kind::gate && wait.kind != wait_kind::weights));
    it.on(batch_trained{step, 10}, 3);
  }
  CHECK(all(it, 4) == "run waits for the checkpoint of step 2; since 3.0 s, for 1.0 s\n");
}

// AReaL #1345: after a restart at version v the budget counts from 0 and explodes.
TEST_CASE(
    "a run that goes on at a later version starts no more than the gate lets it, and says what the gate waits for") {
  scheduler before(two_by(9, "one_step_off"));
  before.on(worker_joined{0, 8, 0, "rollout/0"}, 1);
  for (group_id id : {0, 1}) {
    before.on(group_finished{id, 1, {{0, 5}}}, 2);
    before.on(group_ready{id, 1}, 2);
  }
  before.on(batch_trained{0, 10}, 3);
  auto it = scheduler::restore(before.settings(), before.save());
  CHECK(it.on(worker_joined{0, 100, 1, "rollout/0"}, 1).size() == 4); // groups 2 to 5
  CHECK(it.waits(20).back().what
        == "the learner to finish step 1 before it starts more: 4 groups live, 2 groups trained; "
           "the first still open is 2 (generating on rollout/0 for 19.0 s)");
}

// verl #6090: new work stands behind the tail of a draining worker, which waits for nobody but its own group.
TEST_CASE("a worker that drains waits for its group, not for itself") {
  scheduler it(two_by(3, "one_step_off"));
  it.on(worker_joined{0, 3, 0, "rollout/0"}, 1);
  for (group_id id : {0, 1}) {
    it.on(group_finished{id, 1, {{0, 5}}}, 2);
    it.on(group_ready{id, 1}, 2);
  }
  it.on(batch_trained{0, 10}, 4);
  const auto wait = it.waits(20).back();
  CHECK(wait.on == std::vector<std::string>{"group 2"});
  CHECK(wait.what
        == "its 2 running groups to end before it takes version 1 (it runs 0): 2 (generating on rollout/0 for 19.0 s)");
}

TEST_CASE("a rollout that may not start more says which limit keeps it") {
  auto set = two_by(9, "bounded");
  set.gate.max_inflight = 1;
  scheduler it(set);
  it.on(worker_joined{0, 4, 0, "rollout/0"}, 1);
  CHECK(it.waits(20).back().what == "a group to end: 1 group may generate at once");
  CHECK(it.waits(20).back().on == std::vector<std::string>{"group 0"});
  set.gate.max_inflight = 0;
  set.gate.burst = 0.5;
  scheduler slow(set);
  slow.on(worker_joined{0, 4, 0, "rollout/0"}, 1);
  CHECK(slow.waits(20).back().what == "a group to end, or new weights: under version 0 generation may grow by 1 group");
}

TEST_CASE("fresh groups, tokens and lent hardware are waited for by name") {
  auto set = two_by(9, "areal");
  set.gate.depth = 1;
  set.select.on_policy_min = 0.5;
  scheduler it(set);
  it.on(worker_joined{0, 4, 0, "rollout/0"}, 1);
  for (group_id id : {0, 1, 2, 3}) {
    it.on(group_finished{id, 1, {{0, 5}}}, 2);
    it.on(group_ready{id, 1}, 2);
  }
  it.on(batch_trained{0, 10}, 3);
  CHECK(it.waits(20).front().what == "1 more group of version 1 though 2 are ready");
  it.on(version_acknowledged{0, 1}, 4);
  CHECK(it.waits(20).front().what
        == "1 more group of version 1 though 2 are ready: 4 (generating on rollout/0 for 16.0 s), 5 (generating on "
           "rollout/0 for 16.0 s)");

  set.select.on_policy_min = 0;
  set.select.tokens_per_step = 30;
  scheduler counting(set);
  counting.on(worker_joined{0, 1, 0, "rollout/0"}, 1);
  counting.on(group_finished{0, 1, {{0, 12}}}, 2);
  counting.on(group_ready{0, 1}, 2);
  CHECK(counting.waits(20).front().what
        == "1 of 2 groups, or 18 more answer tokens: 1 (generating on rollout/0 for 18.0 s)");

  set.select.tokens_per_step = 0;
  set.place.mode = place_mode::lend;
  set.place.reclaim_at = 0.5;
  scheduler lending(set);
  lending.on(worker_joined{0, 1, 0, "rollout/0", true}, 1);
  for (group_id id : {0, 1, 2}) {
    lending.on(group_finished{id, 1, {{0, 12}}}, 2);
    lending.on(group_ready{id, 1}, 2);
  }
  CHECK(sentence(lending.waits(3).back(), 3)
        == "rollout/0 waits for the learner to train step 0, which has its hardware back: 1 of 2 groups of the next "
           "are ready; since 2.0 s, for 1.0 s");
}

} // namespace waits_test
