#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/scheduler.hpp"
#include "runtime/schedule/virtual_time.hpp"
#include "tests/runtime/schedule/action_text.hpp"

#include <doctest/doctest.h>

namespace language_test {

/// Keys that no preset sets: what each does, and with which others it is refused.
using namespace millrace;
using namespace millrace::schedule;

namespace {

config two_by(std::uint32_t steps, const char* name) {
  auto result = preset(name);
  result.groups_per_step = 2;
  result.steps = steps;
  return result;
}

struct bench {
  scheduler it;
  double now_s = 0;

  std::string on(const event& what) {
    const auto text = words(it.on(what, ++now_s));
    CHECK(it.audit() == "");
    return text;
  }

  std::string join(worker_id id, std::uint32_t places, bool lent = false) {
    return on(worker_joined{id, places, 0, "rollout/" + std::to_string(id), lent});
  }

  std::string done(group_id id, version_id version = 0, std::int64_t tokens = 10) {
    const auto first = on(group_finished{id, 1, {{version, tokens}}});
    const auto second = on(group_ready{id, 1});
    return first + (first.empty() || second.empty() ? "" : " | ") + second;
  }
};

/// Of the one thing that is wrong.
std::string wrong_with(const config& set) {
  const auto found = problems(set);
  REQUIRE(found.size() == 1);
  return found[0].field + ": " + found[0].text;
}

} // namespace

TEST_CASE("burst: under one version generation grows by its share of a step") {
  auto set = two_by(9, "areal");
  set.gate.burst = 1;
  bench run{scheduler(set)};
  CHECK(run.join(0, 8) == "admit 0#1 w0 v0, admit 1#1 w0 v0"); // of ten that the gate would let start
  CHECK(run.done(0) == "admit 2#1 w0 v0");
  CHECK(run.done(1) == "admit 3#1 w0 v0 | cut 0: 0 1");
  run.on(batch_trained{0, 20});
  // Two generate when version 1 comes: two more.
  run.on(group_interrupted{2, 1, {}});
  run.on(group_interrupted{3, 1, {}});
  run.on(version_acknowledged{0, 1});
  CHECK(run.it.at().version == 1);
  CHECK(run.it.at().generating == 2);
  set.gate.burst = 0;
  CHECK(wrong_with(set)
        == "gate.burst: found 0, want a number above 0 (steps' worth of groups that generation grows by at most under "
           "one version; inf = any)");
}

TEST_CASE("tokens_per_step: a step is cut as soon as its groups have so many tokens, and the gate counts steps") {
  auto set = two_by(3, "skyrl");
  set.groups_per_step = 4;
  set.gate.depth = 0;
  set.select.tokens_per_step = 25;
  bench run{scheduler(set)};
  run.join(0, 8);
  CHECK(run.it.at().generating == 4);
  CHECK(run.done(2, 0, 9) == "");
  CHECK(run.done(1, 0, 9) == "");
  CHECK(run.done(3, 0, 9) == "cut 0: 1 2 3"); // 27 of 25 tokens; without the last it would be 18
  run.on(batch_trained{0, 27});
  // Group 0 is one of step 1's four: the fourth of step 0 was not needed and is not made up for.
  CHECK(run.on(version_acknowledged{0, 1}) == "admit 4#1 w0 v1, admit 5#1 w0 v1, admit 6#1 w0 v1");
  set.clock.minibatches = 2;
  CHECK(wrong_with(set)
        == "select.tokens_per_step: found 25, want 0 with minibatches: updates of a step are of one size");
}

TEST_CASE("on_policy_min: a share of each batch is of the newest weights") {
  auto set = two_by(4, "areal");
  set.gate.depth = 1;
  set.select.on_policy_min = 0.5;
  bench run{scheduler(set)};
  run.join(0, 8); // 0 to 3
  run.done(0);
  CHECK(run.done(1) == "cut 0: 0 1");
  run.done(2);
  run.done(3);
  run.on(batch_trained{0, 20});
  CHECK(run.it.at().ready == 2); // both of version 0
  CHECK(run.on(version_acknowledged{0, 1}) == "admit 4#1 w0 v1, admit 5#1 w0 v1");
  CHECK(run.done(5, 1) == "cut 1: 2 5");
  set.select.order = select_order::in_order;
  CHECK(wrong_with(set)
        == "select.on_policy_min: found 0.5, want 0 with order in_order, which says each batch's groups already");
}

TEST_CASE("unit update: the bound holds within a step too") {
  auto set = two_by(9, "prime_rl");
  set.groups_per_step = 2;
  set.clock.minibatches = 2;
  set.select.min_ready = 1;
  set.gate.depth = 1;
  set.clock.unit = lag_unit::update;
  set.stale.max = 2; // of version 0: update 0 of step 1 still may, update 1 may not
  bench run{scheduler(set)};
  run.join(0, 4); // 0 to 3
  CHECK(run.done(0) == "cut 0.0: 0");
  run.done(1);
  run.done(2);
  run.done(3);
  CHECK(run.on(batch_trained{0, 10, 0, 0}) == "cut 0.1: 1");
  CHECK(run.on(batch_trained{0, 10, 0, 1}).starts_with("publish 1: w0, cut 1.0: 2"));
  CHECK(run.on(batch_trained{1, 10, 0, 0}).starts_with("drop 3 stale"));
  set.stale.max = 0;
  CHECK(wrong_with(set)
        == "stale.max: found 0, want at least 1 with unit update: so far is a step's last update from the weights that "
           "it began with");
}

TEST_CASE(
    "lend: the learner's hardware starts no group once enough of the next batch is ready, and again after the step") {
  auto set = two_by(9, "areal");
  set.gate.depth = 2;
  set.place.mode = place_mode::lend;
  set.place.reclaim_at = 1;
  bench run{scheduler(set)};
  CHECK(run.join(0, 1, true) == "admit 0#1 w0 v0");
  CHECK(run.join(1, 1) == "admit 1#1 w1 v0");
  CHECK(run.done(0) == "admit 2#1 w0 v0");
  CHECK(run.done(1) == "admit 3#1 w1 v0 | cut 0: 0 1");
  CHECK(run.done(2) == "admit 4#1 w0 v0"); // nothing of the next batch was ready
  CHECK(run.done(3)
        == "admit 5#1 w1 v0 | interrupt 4#1 w0"); // now all of it is: what runs on lent hardware is handed back
  CHECK(run.on(group_interrupted{4, 1, {{0, 3}}}) == "");
  CHECK(run.on(group_finished{5, 1, {{0, 10}}}) == "admit 4#2 w1 v0 resume"); // its own hardware goes on
  run.on(batch_trained{0, 20});
  CHECK(run.on(version_acknowledged{0, 1}) == ""); // step 1 trains at once; of the next batch one is there
  set.place.reclaim_at = 0;
  CHECK(wrong_with(set)
        == "place.reclaim_at: found 0, want above 0 with place lend: timeshare never generates beside training");
  set.place.reclaim_at = 0.5;
  set.gate.depth = 0;
  CHECK(wrong_with(set)
        == "place.mode: found lend, want disjoint or timeshare with depth 0: nothing of the next batch is generated "
           "while "
           "one is trained");
}

// Production without a gate: beside training it would always be in its way.
TEST_CASE("lend: under virtual time training goes at its own pace once its hardware is back") {
  workload costs;
  costs.groups_per_worker = 4;
  costs.answers_per_group = 1;
  costs.mean_tokens = costs.max_tokens = 100;
  costs.tokens_per_s = 100;
  costs.train_s = 4;
  costs.train_contention = 2;
  auto set = preset("nemo_windowed");
  set.groups_per_step = 4;
  set.steps = 50;
  const auto disjoint = simulate(set, costs);
  CHECK(disjoint.step_s() > 7); // 8 but for the last steps, which generate nothing more
  set.place.mode = place_mode::lend;
  set.place.reclaim_at = 1;
  const auto lent = simulate(set, costs);
  CHECK(lent.step_s() < 0.8 * disjoint.step_s());
  CHECK(lent.books.dropped[static_cast<std::size_t>(drop_reason::stale)].tokens
        < disjoint.books.dropped[static_cast<std::size_t>(drop_reason::stale)].tokens / 2);
  costs.own_workers = 1; // hardware of its own: nothing to take back, nothing that slows training down
  const auto own = simulate(set, costs);
  CHECK(own.step_s() == doctest::Approx((1 + 50 * 4.0) / 50).epsilon(0.01));
}

TEST_CASE("publish.deadline_s: v rises without a worker that does not take its weights, which gets no group until it "
          "runs the newest") {
  auto set = two_by(9, "nemo_ready_first");
  set.publish.deadline_s = 10;
  bench run{scheduler(set)};
  run.join(0, 2);
  CHECK(run.join(1, 2) == "admit 2#1 w1 v0, admit 3#1 w1 v0");
  run.done(0);
  CHECK(run.done(1) == "cut 0: 0 1");
  CHECK(run.on(batch_trained{0, 20}) == "publish 1: w0 w1");
  CHECK(run.on(version_acknowledged{0, 1}) == ""); // worker 1 still runs version 0
  CHECK(run.on(weights_overdue{1, 1}) == "publish 1: w1, admit 4#1 w0 v1, admit 5#1 w0 v1");
  CHECK(run.it.at().version == 1);
  CHECK(run.on(weights_overdue{1, 1}) == ""); // it is known
  CHECK(run.it.ignored() == 1);
  run.done(2);
  CHECK(run.done(3) == "cut 1: 2 3"); // what it generated counts, its places stay empty
  CHECK(run.on(batch_trained{1, 20}) == "publish 2: w0 w1");
  CHECK(run.on(version_acknowledged{0, 2}) == "");
  CHECK(run.it.at().version == 2);
  CHECK(run.on(version_acknowledged{1, 1}) == ""); // behind v by now
  CHECK(run.on(version_acknowledged{1, 2}) == "admit 6#1 w1 v2, admit 7#1 w1 v2");
  set.publish.pattern = publish_pattern::pull;
  set.interrupt.mode = interrupt_mode::drain;
  CHECK(wrong_with(set) == "publish.deadline_s: found 10, want 0 with pattern pull: nobody waits for workers");
}

TEST_CASE("publish.deadline_s: where nobody runs newer weights nobody is left out, and a late worker takes no turn of "
          "rolling_width") {
  auto set = two_by(9, "nemo_ready_first");
  set.publish.deadline_s = 10;
  set.publish.pattern = publish_pattern::rolling;
  bench run{scheduler(set)};
  run.join(0, 2);
  run.done(0);
  CHECK(run.done(1) == "admit 3#1 w0 v0 | cut 0: 0 1");
  CHECK(run.on(batch_trained{0, 20}) == "publish 1: w0");
  CHECK(run.on(weights_overdue{0, 1}) == "publish 1: w0");
  CHECK(run.it.at().version == 0);
  CHECK(run.it.takes_groups(0));
  CHECK(run.on(worker_joined{1, 1, 0, "rollout/1"}) == "publish 1: w1"); // though rolling_width is 1
  CHECK(run.on(version_acknowledged{1, 1}) == "admit 4#1 w1 v1");
  CHECK(run.it.at().version == 1);
  CHECK_FALSE(run.it.takes_groups(0));
}

TEST_CASE("publish.deadline_s: under virtual time one long answer holds a drain no longer than that") {
  workload costs;
  costs.workers = 3;
  costs.groups_per_worker = 2;
  costs.answers_per_group = 1;
  costs.lengths = {{100}, {100}, {100}, {100}, {100}, {100}, {100}, {100}, {1500}};
  costs.tokens_per_s = 100;
  costs.train_s = 0.5;
  auto set = preset("nemo_ready_first");
  set.interrupt.mode = interrupt_mode::drain;
  set.groups_per_step = 2;
  set.steps = 60;
  const auto waits = simulate(set, costs);
  set.publish.deadline_s = 2;
  const auto goes_on = simulate(set, costs);
  CHECK(goes_on.steps == 60);
  CHECK(goes_on.seconds < 0.7 * waits.seconds);
  set.publish.deadline_s = 100; // nobody takes so long
  CHECK(simulate(set, costs).seconds == waits.seconds);
}

TEST_CASE("oversample_attempts: a group starts more answers than it needs, and the tokens of those that are not kept "
          "are surplus") {
  auto set = two_by(3, "areal");
  set.tail.oversample_attempts = 1.25;
  CHECK(answers_started(set, 8) == 10);
  CHECK(answers_started(set, 1) == 2);
  CHECK(answers_started(preset("areal"), 8) == 8);
  bench run{scheduler(set)};
  run.join(0, 2);
  run.on(group_finished{0, 1, {{0, 30}}, 0, {}, 12});
  CHECK(run.it.books().dropped(drop_reason::surplus) == ledger::account{0, 12});
  CHECK(run.it.books().sums().generated == 42);
  run.on(group_ready{0, 1});
  CHECK(run.done(1).find("cut 0: 0 1") != std::string::npos);
  // What was handed over may hold tokens of answers that are not kept in the end.
  CHECK(run.on(batch_trained{0, 40}).find("interrupt 2#1 w0") != std::string::npos);
  run.on(group_interrupted{2, 1, {{0, 50}}});
  run.on(group_interrupted{3, 1, {{0, 50}}});
  CHECK(run.on(version_acknowledged{0, 1}).starts_with("admit 2#2 w0 v1 resume"));
  run.on(group_finished{2, 2, {{0, 30}, {1, 5}}, 0, {}, 25});
  CHECK(run.it.books().dropped(drop_reason::surplus).tokens == 37);
  run.it.on(group_finished{3, 2, {{0, 30}}, 0, {}, 10}, 99);
  CHECK(run.it.books().check() == "a group that went on has 40 tokens, and had 50 before");
  set.tail.oversample_attempts = 1.0000001;
  CHECK(wrong_with(set)
        == "tail.oversample_attempts: found 1.0000001, want at most six digits after the point: groups and answers are "
           "counted exactly");
}

TEST_CASE("oversample_attempts: under virtual time a group takes as long as its n shortest answers, the same ones "
          "whatever the slots") {
  workload costs;
  costs.groups_per_worker = 1;
  costs.answers_per_group = 2;
  costs.lengths = {{10, 40, 20}};
  costs.tokens_per_s = 10;
  auto set = preset("synchronous");
  set.groups_per_step = 1;
  set.steps = 4;
  set.tail.oversample_attempts = 1.5;
  const auto surplus = [](const prediction& made) {
    return made.books.dropped[static_cast<std::size_t>(drop_reason::surplus)].tokens;
  };
  const auto together = simulate(set, costs);
  CHECK(together.step_s() == doctest::Approx(2 + 1)); // 20 tokens, and the step
  CHECK(together.books.trained.tokens == 4 * 30);
  CHECK(surplus(together) == 4 * 20); // the long one, cut off with the second shortest
  CHECK(together.length_ratio() == doctest::Approx(30 / (70 * 2 / 3.0)).epsilon(0.02));
  costs.slots = 2; // the third begins when the first has ended, and is the second to end
  const auto two = simulate(set, costs);
  CHECK(two.step_s() == doctest::Approx(3 + 1));
  CHECK(surplus(two) == 4 * 30);
  costs.slots = 1; // in turn: the third could be shorter than the second, and is
  const auto one = simulate(set, costs);
  CHECK(one.step_s() == doctest::Approx(7 + 1));
  CHECK(surplus(one) == 4 * 40);
  for (const auto& made : {two, one})
    CHECK(made.books.trained.tokens == together.books.trained.tokens);
  costs.lengths = {{20, 20, 20}}; // a tie: the lower indices
  costs.slots = 2;
  const auto tie = simulate(set, costs);
  CHECK(tie.step_s() == doctest::Approx(2 + 1.9 + 1)); // the third goes on until it cannot be shorter
  CHECK(tie.books.trained.tokens == 4 * 40);
  CHECK(surplus(tie) == 4 * 19);
}

// n-th order statistic of m lengths, in each schedule whose groups are handed over too.
TEST_CASE("oversample_attempts: in every preset the books close and no more is trained than groups need") {
  workload costs;
  costs.workers = 2;
  costs.answers_per_group = 4;
  costs.mean_tokens = 60;
  costs.max_tokens = 300;
  costs.length_cv = 1;
  costs.publish_s = 0.3;
  for (const auto& row : presets())
    for (const std::uint32_t slots : {0, 5}) {
      CAPTURE(row.name);
      CAPTURE(slots);
      costs.slots = slots;
      auto set = row.schedule;
      set.groups_per_step = 4;
      set.steps = 12;
      set.tail.oversample_attempts = 1.5;
      const auto made = simulate(set, costs, [](const event&, const std::vector<action>&, const scheduler& it, double) {
        REQUIRE(it.books().check() == "");
      });
      CHECK(made.steps == 12);
      CHECK(made.books.dropped[static_cast<std::size_t>(drop_reason::surplus)].tokens > 0);
      CHECK(made.length_ratio() < 1);
    }
}

TEST_CASE("reclaim_adapt: the share rises after a step that ended with too little of the next batch, and falls after "
          "others") {
  auto set = two_by(9, "areal");
  set.gate.depth = 2;
  set.place.mode = place_mode::lend;
  set.place.reclaim_at = 1;
  set.place.reclaim_adapt = true;
  bench run{scheduler(set)};
  run.join(0, 2, true);
  run.join(1, 2);
  for (group_id id : {0, 1, 2, 3})
    run.done(id);
  CHECK(run.it.reclaim_at() == 1);
  run.on(batch_trained{0, 20}); // two of the next two are ready
  CHECK(run.it.reclaim_at() == 0.9375);
  run.on(batch_trained{1, 20}); // none is
  CHECK(run.it.reclaim_at() == 0.9453125);
  CHECK(scheduler::restore(set, run.it.save()).reclaim_at() == 0.9453125);
  for (std::size_t ready = 0; ready < 100; ++ready)
    for (double share : {0.01, 0.5, 1.0}) {
      CHECK(adapted_reclaim(set, share, ready % 4) <= 1);
      CHECK(adapted_reclaim(set, share, ready % 4) >= 0.5);
    }
  set.groups_per_step = 1;
  CHECK(wrong_with(set)
        == "place.reclaim_adapt: found true, want false with groups_per_step = 1: a share of one group is that group");
  set.place.mode = place_mode::disjoint;
  set.groups_per_step = 2;
  set.place.reclaim_at = 0;
  CHECK(wrong_with(set) == "place.reclaim_adapt: found true, want false unless place is lend");
}

TEST_CASE("call_deadline_s: under virtual time what takes longer is generated again, then given up") {
  workload costs;
  costs.answers_per_group = 1;
  costs.lengths = {{100}, {100}, {900}, {100}};
  costs.tokens_per_s = 100;
  auto set = preset("synchronous");
  set.groups_per_step = 4;
  set.steps = 2;
  set.faults.attempts = 2;
  set.faults.call_deadline_s = 5;
  const auto made = simulate(set, costs);
  CHECK(made.steps == 2);
  CHECK(made.books.dropped[static_cast<std::size_t>(drop_reason::attempts)].groups == 2);
}

} // namespace language_test
