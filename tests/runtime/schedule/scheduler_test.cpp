#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/scheduler.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/schedule/action_text.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

namespace scheduler_test {

using namespace millrace;
using namespace millrace::schedule;

namespace {

config made(const char* name, std::uint32_t groups_per_step, std::uint32_t steps) {
  auto result = preset(name);
  if (std::string(name) == "bounded") {
    result.gate.depth = 1;
    result.stale.max = 4;
  }
  result.groups_per_step = groups_per_step;
  result.steps = steps;
  return result;
}

/// A scheduler and a clock that ticks once an event.
struct bench {
  scheduler it;
  double now_s = 0;

  explicit bench(const config& wanted) : it(wanted) {}

  explicit bench(scheduler from) : it(std::move(from)) {}

  std::string on(const event& what) {
    const auto text = words(it.on(what, ++now_s));
    CHECK(it.audit() == "");
    return text;
  }

  std::string join(worker_id id, std::uint32_t places, std::optional<version_id> holds = 0) {
    return on(worker_joined{id, places, holds, "rollout/" + std::to_string(id)});
  }

  /// Ten tokens of `version`, and every column.
  std::string done(group_id id, version_id version = 0, std::uint32_t attempt = 1) {
    const auto first = on(group_finished{id, attempt, {{version, 10}}});
    const auto second = on(group_ready{id, attempt});
    return first + (first.empty() || second.empty() ? "" : " | ") + second;
  }
};

} // namespace

TEST_CASE("synchronous generates, trains, publishes and only then generates again") {
  bench run(made("synchronous", 2, 2));
  CHECK(run.join(0, 8) == "admit 0#1 w0 v0, admit 1#1 w0 v0");
  CHECK(run.done(1) == "");
  CHECK(run.done(0) == "cut 0: 0 1");
  CHECK(run.on(batch_trained{0, 20}) == "publish 1: w0");
  CHECK(run.on(version_acknowledged{0, 1}) == "admit 2#1 w0 v1, admit 3#1 w0 v1");
  CHECK(run.done(2, 1) == "");
  CHECK(run.done(3, 1) == "cut 1: 2 3");
  CHECK(run.on(batch_trained{1, 20}) == "checkpoint 2");
  CHECK_FALSE(run.it.finished());
  CHECK(run.on(checkpointed{2}) == "finish steps_done");
  CHECK(run.it.finished());
  CHECK(run.it.stale().max() == 0);
  CHECK(run.it.books().trained() == ledger::account{4, 40});
}

TEST_CASE("one_step_off generates the next batch while one is trained, each by one version, drained before it flips") {
  bench run(made("one_step_off", 1, 4));
  CHECK(run.join(0, 1) == "admit 0#1 w0 v0");
  CHECK(run.on(group_finished{0, 1, {{0, 10}}}) == "admit 1#1 w0 v0");
  CHECK(run.on(group_ready{0, 1}) == "cut 0: 0");
  CHECK(run.on(batch_trained{0, 10}) == "publish 1: w0");
  CHECK(run.on(group_finished{1, 1, {{0, 10}}}) == ""); // drained: nothing starts before the flip
  CHECK(run.on(version_acknowledged{0, 1}) == "admit 2#1 w0 v1");
  CHECK(run.on(group_ready{1, 1}) == "cut 1: 1");
  CHECK(run.on(batch_trained{1, 10}) == "publish 2: w0");
  CHECK(run.on(group_finished{2, 1, {{1, 10}}}) == "");
  CHECK(run.on(version_acknowledged{0, 2}) == "admit 3#1 w0 v2");
  CHECK(run.on(group_ready{2, 1}) == "cut 2: 2");
  // S-6: the last batch is under way already, version 3 would serve nobody.
  CHECK(run.on(batch_trained{2, 10}) == "");
  CHECK(run.done(3, 2) == "cut 3: 3");
  CHECK(run.on(batch_trained{3, 10}) == "checkpoint 4");
  CHECK(run.it.stale().at_use.at(0).groups == 1);
  CHECK(run.it.stale().at_use.at(1).groups == 3);
}

TEST_CASE("bounded keeps a batch back when an older group would miss its deadline") {
  auto wanted = made("bounded", 1, 9);
  wanted.gate.depth = 1;
  wanted.stale.max = 1;
  bench run(wanted);
  CHECK(run.join(0, 4) == "admit 0#1 w0 v0, admit 1#1 w0 v0");
  CHECK(run.done(1) == "cut 0: 1"); // 0 is due by step 1: still possible
  CHECK(run.on(batch_trained{0, 10}) == "publish 1: w0");
  CHECK(run.on(version_acknowledged{0, 1}) == "admit 2#1 w0 v1");
  CHECK(run.done(2, 1) == ""); // cutting 2 at step 1 would leave 0 overdue at step 2
  CHECK(run.it.waits(run.now_s).front().kind == wait_kind::bound);
  CHECK(run.on(group_finished{0, 1, {{0, 6}, {1, 4}}}) == "");
  CHECK(run.on(group_ready{0, 1}) == "cut 1: 0");
}

TEST_CASE("count bound trains what is ready, however late the rest gets") {
  auto wanted = made("bounded", 1, 9);
  wanted.stale.max = 1;
  wanted.stale.action = stale_action::train;
  wanted.stale.max = unlimited;
  bench run(wanted);
  run.join(0, 4);
  CHECK(run.done(1) == "cut 0: 1");
  run.on(batch_trained{0, 10});
  run.on(version_acknowledged{0, 1});
  CHECK(run.done(2, 1) == "cut 1: 2");
}

TEST_CASE("in-flight update starts groups while weights are on their way, and v waits for every worker") {
  auto wanted = made("bounded", 2, 9);
  bench run(wanted);
  CHECK(run.join(0, 2) == "admit 0#1 w0 v0, admit 1#1 w0 v0");
  CHECK(run.join(1, 1) == "admit 2#1 w1 v0");
  CHECK(run.on(group_finished{0, 1, {{0, 10}}}) == "admit 3#1 w0 v0");
  run.on(group_ready{0, 1});
  CHECK(run.done(1) == "cut 0: 0 1");
  CHECK(run.on(batch_trained{0, 20}) == "publish 1: w0 w1");
  CHECK(run.on(version_acknowledged{0, 1}) == "");
  CHECK(run.it.at().version == 0);
  CHECK(run.on(version_acknowledged{1, 1}) == "admit 4#1 w0 v1");
  CHECK(run.it.at().version == 1);
}

TEST_CASE("a dropped group is replaced by the next prompt and later groups move up") {
  bench run(made("synchronous", 2, 1));
  run.join(0, 8);
  CHECK(run.on(group_failed{0, 1, false, 3, "no answer in the row"}) == "drop 0 data, admit 2#1 w0 v0");
  run.done(2);
  CHECK(run.done(1) == "cut 0: 1 2");
  CHECK(run.it.books().dropped(drop_reason::data) == ledger::account{1, 3});
}

TEST_CASE("groups of a lost worker go to another under their ids, and its late reports change nothing") {
  bench run(made("synchronous", 2, 1));
  run.join(0, 2);
  run.done(0);
  CHECK(run.on(worker_lost{0}) == "");
  CHECK(run.join(1, 2) == "admit 1#2 w1 v0");
  CHECK(run.on(group_finished{1, 1, {{0, 10}}}) == "");
  CHECK(run.it.ignored() == 1);
  CHECK(run.on(group_lost{0, 1}) == "admit 0#2 w1 v0"); // its tensors lay on the dead worker
  CHECK(run.it.books().sums().lost == 10);
  run.done(0, 0, 2);
  CHECK(run.done(1, 0, 2) == "cut 0: 0 1");
}

TEST_CASE("a group that keeps losing its worker is dropped after the attempts allowed") {
  auto wanted = made("synchronous", 1, 1);
  wanted.faults.attempts = 2;
  bench run(wanted);
  run.join(0, 1);
  CHECK(run.join(1, 1) == "");
  CHECK(run.on(worker_lost{0}) == "admit 0#2 w1 v0");
  CHECK(run.on(worker_lost{1}) == "drop 0 attempts");
  CHECK(run.join(2, 1) == "admit 1#1 w2 v0");
}

TEST_CASE("a worker that joins late is sent the newest weights before it gets a group") {
  bench run(made("synchronous", 1, 3));
  run.join(0, 1);
  run.done(0);
  run.on(batch_trained{0, 10});
  CHECK(run.join(1, 1, std::nullopt) == "publish 1: w1");
  CHECK(run.on(version_acknowledged{1, 1}) == "");
  CHECK(run.on(version_acknowledged{0, 1}) == "admit 1#1 w0 v1");
}

TEST_CASE("publication does not wait for a worker that died under it") {
  bench run(made("synchronous", 1, 3));
  run.join(0, 1);
  run.join(1, 1);
  run.done(0);
  CHECK(run.on(batch_trained{0, 10}) == "publish 1: w0 w1");
  CHECK(run.on(version_acknowledged{1, 1}) == "");
  CHECK(run.on(worker_lost{0}) == "admit 1#1 w1 v1");
}

TEST_CASE("a batch that the learner lost is cut again and counted once") {
  bench run(made("synchronous", 1, 2));
  run.join(0, 1);
  run.done(0);
  CHECK(run.on(training_lost{0}) == "cut 0: 0");
  CHECK(run.on(training_lost{7}) == "");
  run.on(batch_trained{0, 10});
  CHECK(run.it.books().trained().groups == 1);
  CHECK(run.it.stale().at_use.at(0).groups == 1);
}

TEST_CASE("when prompts end the rest makes a smaller last batch, voided groups are cancelled") {
  bench run(made("one_step_off", 2, 10));
  run.join(0, 8); // 0 1 2 3
  CHECK(run.on(prompts_exhausted{3}) == "cancel 3#1 w0, drop 3 unneeded");
  run.done(0);
  CHECK(run.done(1) == "cut 0: 0 1");
  CHECK(run.done(2) == "");
  CHECK(run.on(batch_trained{0, 20}) == "cut 1: 2");
  CHECK_FALSE(run.it.complete());
  CHECK(run.on(batch_trained{1, 10}) == "checkpoint 2");
  CHECK(run.it.complete());
  CHECK(run.on(checkpointed{2}) == "finish prompts_exhausted");
}

TEST_CASE("the oldest live group is a prompt that there is, also when more groups were begun than there are prompts") {
  bench run(made("one_step_off", 2, 10));
  run.join(0, 8); // 0 1 2 3
  run.on(prompts_exhausted{2});
  CHECK(run.it.oldest_live() == 0);
  run.done(0);
  run.done(1);
  CHECK(run.on(batch_trained{0, 20}) == "checkpoint 1");
  CHECK(run.it.oldest_live() == 2);
}

TEST_CASE("a wanted checkpoint is written once, when the step under way has ended") {
  bench run(made("synchronous", 1, 10));
  run.join(0, 1);
  CHECK(run.on(checkpoint_wanted{}) == "");
  CHECK(run.done(0) == "cut 0: 0");
  CHECK(run.on(batch_trained{0, 10}).find("checkpoint 1") != std::string::npos);
  run.on(version_acknowledged{0, 1});
  run.done(1, 1);
  CHECK(run.on(batch_trained{1, 10}).find("checkpoint") == std::string::npos);
}

TEST_CASE("no prompts at all is the end at once") {
  bench run(made("synchronous", 2, 10));
  CHECK(run.on(prompts_exhausted{0}) == "checkpoint 0");
  CHECK(run.on(checkpointed{0}) == "finish prompts_exhausted");
}

TEST_CASE("stop cancels what runs, awaits the step, saves and finishes") {
  bench run(made("one_step_off", 1, 10));
  run.join(0, 2);
  run.done(0);
  CHECK(run.on(stop_requested{}) == "cancel 1#1 w0");
  CHECK(run.on(batch_trained{0, 10}) == "checkpoint 1");
  CHECK(run.on(checkpointed{1}) == "finish stopped");
  CHECK(run.on(worker_lost{0}) == "");
}

TEST_CASE("stop asks for no second checkpoint of the same step") {
  auto wanted = made("synchronous", 1, 10);
  wanted.checkpoint_every = 1;
  bench run(wanted);
  run.join(0, 1);
  run.done(0);
  CHECK(run.on(batch_trained{0, 10}) == "checkpoint 1, publish 1: w0");
  CHECK(run.on(stop_requested{}) == "");
  CHECK(run.on(checkpointed{1}) == "finish stopped");
}

TEST_CASE("staleness at use is counted by group, by token, in flight and in queue") {
  auto wanted = made("bounded", 1, 9);
  wanted.gate.depth = 2;
  bench run(wanted);
  run.join(0, 4); // 0 1 2
  run.done(1);
  run.on(batch_trained{0, 10});
  run.on(version_acknowledged{0, 1});
  run.done(2, 0);
  run.on(batch_trained{1, 10});
  run.on(version_acknowledged{0, 2});
  run.on(group_finished{0, 1, {{0, 4}, {1, 6}}});
  run.on(group_ready{0, 1});
  run.on(batch_trained{2, 10});
  // Group 0 at step 2: oldest token 0, newest 1. Groups 1 and 2: versions 0 at steps 0 and 1.
  const auto& stale = run.it.stale();
  CHECK(stale.at_use.at(2) == staleness::bucket{1, 4});
  CHECK(stale.at_use.at(1) == staleness::bucket{1, 10 + 6});
  CHECK(stale.at_use.at(0) == staleness::bucket{1, 10});
  CHECK(stale.in_flight == 1);
  CHECK(stale.in_queue == 1 + 1);
  CHECK(stale.mean_by_group() == doctest::Approx(1.0));
  CHECK(stale.mean_by_token() == doctest::Approx((2 * 4 + 16) / 30.0));
}

TEST_CASE("the ledger says so when the learner counts other tokens, or stamps are impossible") {
  bench run(made("synchronous", 1, 2));
  run.join(0, 1);
  run.done(0);
  run.it.on(batch_trained{0, 9}, 5);
  CHECK(run.it.books().check() == "step 0: the learner trained 9 tokens, the groups of its batch have 10");

  bench other(made("synchronous", 1, 2));
  other.join(0, 1);
  other.it.on(group_finished{0, 1, {{3, 10}}}, 5);
  CHECK(other.it.books().check()
        == "group 0: token versions 3 to 3, but it was started under version 0 and the newest is 0");
}

TEST_CASE("settings that cannot run are refused in one sentence each") {
  config wanted = preset("bounded");
  wanted.groups_per_step = 0;
  wanted.steps = 0;
  CHECK(problems(wanted).size() == 2);
  CHECK_THROWS_AS(scheduler{wanted}, millrace::input_error);
  CHECK_THROWS_AS(preset("onestep"), millrace::input_error);
  scheduler fine(made("synchronous", 1, 1));
  CHECK_THROWS_AS(fine.on(worker_joined{0, 0, 0, "rollout/0"}, 0), std::invalid_argument);
}

TEST_CASE("dynamic sampling: a group without variance is dropped by that reason and the next prompt takes its place") {
  auto wanted = made("synchronous", 2, 1);
  wanted.flat_groups_per_step = 2;
  bench run(wanted);
  CHECK(run.join(0, 8) == "admit 0#1 w0 v0, admit 1#1 w0 v0");
  run.on(group_finished{0, 1, {{0, 10}}});
  run.on(group_finished{1, 1, {{0, 10}}});
  CHECK(run.on(group_flat{0, 1}) == "drop 0 zero_variance, admit 2#1 w0 v0");
  CHECK(run.on(group_ready{1, 1}) == "");
  run.on(group_finished{2, 1, {{0, 10}}});
  CHECK(run.on(group_flat{2, 1}) == "drop 2 zero_variance, admit 3#1 w0 v0");
  run.on(group_finished{3, 1, {{0, 10}}});
  CHECK(run.on(group_flat{3, 1}) == "cut 0: 1 3"); // two were replaced: the limit of a step
  CHECK(run.on(batch_trained{0, 20}) == "checkpoint 1");
  CHECK(run.it.books().dropped(drop_reason::zero_variance) == ledger::account{2, 20});
  CHECK(run.it.books().trained() == ledger::account{2, 20});
  CHECK(run.it.books().check() == "");
}

TEST_CASE("the limit of replaced groups begins anew with each step, and without one they are trained") {
  auto wanted = made("synchronous", 1, 2);
  wanted.flat_groups_per_step = 1;
  bench run(wanted);
  run.join(0, 8);
  run.on(group_finished{0, 1, {{0, 10}}});
  CHECK(run.on(group_flat{0, 1}) == "drop 0 zero_variance, admit 1#1 w0 v0");
  CHECK(run.done(1) == "cut 0: 1");
  run.on(batch_trained{0, 10});
  CHECK(run.on(version_acknowledged{0, 1}) == "admit 2#1 w0 v1");
  run.on(group_finished{2, 1, {{1, 10}}});
  CHECK(run.on(group_flat{2, 1}) == "drop 2 zero_variance, admit 3#1 w0 v1");

  bench plain(made("synchronous", 1, 2));
  plain.join(0, 8);
  plain.on(group_finished{0, 1, {{0, 10}}});
  CHECK(plain.on(group_flat{0, 1}) == "cut 0: 0");
}

TEST_CASE("tokens of greedy baselines and of masked answers are dropped by their reasons, and the ledger closes") {
  bench run(made("synchronous", 1, 1));
  run.join(0, 8);
  run.on(group_finished{0, 1, {{0, 10}}, 4});
  CHECK(run.it.books().sums().generated == 14);
  CHECK(run.it.books().dropped(drop_reason::baseline) == ledger::account{0, 4});
  run.on(group_ready{0, 1});
  run.on(batch_trained{0, 7, 3});
  CHECK(run.it.books().trained() == ledger::account{1, 7});
  CHECK(run.it.books().dropped(drop_reason::masked) == ledger::account{0, 3});
  CHECK(run.it.books().check() == "");
  const auto back = scheduler::restore(run.it.settings(), run.it.save());
  CHECK(back.books().dropped(drop_reason::masked) == ledger::account{0, 3});
  CHECK(back.books().check() == "");

  bench wrong(made("synchronous", 1, 1));
  wrong.join(0, 8);
  wrong.on(group_finished{0, 1, {{0, 10}}});
  wrong.on(group_ready{0, 1});
  wrong.it.on(batch_trained{0, 7, 2}, 9);
  CHECK(wrong.it.books().check()
        == "step 0: the learner trained 7 and masked 2 tokens, the groups of its batch have 10");
}

} // namespace scheduler_test
