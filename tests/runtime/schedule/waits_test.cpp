#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/scheduler.hpp"

#include <doctest/doctest.h>

using namespace millrace::schedule;

namespace {

std::string all(const scheduler& it, double now_s) {
  std::string text;
  for (const auto& wait : it.waits())
    text += sentence(wait, now_s) + "\n";
  return text;
}

config two_by(std::uint32_t steps, const char* name) {
  auto result = preset(name);
  if (std::string(name) == "bounded")
    result.depth = 1;
  result.groups_per_step = 2;
  result.steps = steps;
  return result;
}

} // namespace

TEST_CASE("a run without a rollout worker says so") {
  scheduler it(two_by(3, "synchronous"));
  CHECK(all(it, 4) == "run waits for a rollout worker: there is none; since 0.0 s, for 4.0 s\n"
                      "learner waits for 2 of 2 groups: 2 not started; since 0.0 s, for 4.0 s\n");
}

TEST_CASE("the learner names the groups it waits for, where they are and since when") {
  scheduler it(two_by(3, "synchronous"));
  it.on(worker_joined{0, 2, 0, "rollout/0"}, 1);
  it.on(group_finished{0, 1, {{0, 5}}}, 3.5);
  CHECK(all(it, 5) == "learner waits for 2 of 2 groups: 0 (finished since 3.5 s), 1 (generating on rollout/0 since 1.0 s); since 0.0 s, for 5.0 s\n"
                      "group 0 waits for the columns that the learner needs; since 3.5 s, for 1.5 s\n"
                      "rollout/0 waits for the learner to finish step 0 before it starts more: 2 groups live, 0 groups trained; since 3.5 s, for 1.5 s\n");
  CHECK(it.waits().front().on == std::vector<std::string>{"group 0", "rollout/0"});
}

TEST_CASE("a batch in training, weights on their way and the gate are waits on somebody") {
  scheduler it(two_by(3, "one_step_off"));
  it.on(worker_joined{0, 3, 0, "rollout/0"}, 1);
  it.on(worker_joined{1, 1, 0, "rollout/1"}, 1);
  for (group_id id : {0, 1}) {
    it.on(group_finished{id, 1, {{0, 5}}}, 2);
    it.on(group_ready{id, 1}, 2);
  }
  CHECK(all(it, 3) == "run waits for the learner to train step 0 (2 groups, 10 tokens); since 2.0 s, for 1.0 s\n"
                      "rollout/0 waits for the learner to finish step 0 before it starts more: 4 groups live, 0 groups trained; since 2.0 s, for 1.0 s\n");
  it.on(batch_trained{0, 10}, 4);
  it.on(group_finished{3, 1, {{0, 5}}}, 5);
  CHECK(all(it, 6) ==
        "learner waits for 2 of 2 groups: 2 (generating on rollout/0 since 1.0 s), 3 (finished since 5.0 s); since 4.0 s, for 2.0 s\n"
        "group 3 waits for the columns that the learner needs; since 5.0 s, for 1.0 s\n"
        "rollout/0 waits for its 1 running group to end before it takes version 1 (it runs 0): 2 (generating on rollout/0 since 1.0 s); since 4.0 s, for 2.0 s\n"
        "rollout/1 waits for version 1 (it runs 0); since 5.0 s, for 1.0 s\n");
  it.on(version_acknowledged{1, 1}, 7);
  CHECK(it.waits().back().kind == wait_kind::gate);
  CHECK(it.waits().back().on == std::vector<std::string>{"rollout/0"});
}

TEST_CASE("groups without a place, the staleness bound and the last checkpoint are waits too") {
  scheduler it(two_by(1, "synchronous"));
  it.on(worker_joined{0, 2, 0, "rollout/0"}, 1);
  it.on(worker_lost{0}, 2);
  CHECK(it.waits()[2].who == "group 0");
  CHECK(sentence(it.waits()[2], 2.5) == "group 0 waits for a place on a rollout worker, with 1 more group; since 2.0 s, for 0.5 s");
  it.on(worker_joined{1, 2, 0, "rollout/1"}, 3);
  for (group_id id : {0, 1}) {
    it.on(group_finished{id, 2, {}}, 4);
    it.on(group_ready{id, 2}, 4);
  }
  it.on(batch_trained{0, 0}, 5);
  CHECK(all(it, 6) == "run waits for the checkpoint of step 1; since 5.0 s, for 1.0 s\n");

  auto tight = two_by(9, "bounded");
  tight.stale_max = 1;
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
  CHECK(sentence(bound.waits().front(), 6) ==
        "learner waits for 2 more groups though 2 are ready, so that none gets older than 1 version: 0 (generating on rollout/0 since 1.0 s), "
        "1 (generating on rollout/0 since 1.0 s); since 3.0 s, for 3.0 s");
}
