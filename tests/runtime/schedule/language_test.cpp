#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/scheduler.hpp"
#include "runtime/schedule/virtual_time.hpp"

#include "tests/runtime/schedule/action_text.hpp"

#include <doctest/doctest.h>

/// Keys that no preset sets: what each does, and with which others it is refused.
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
  std::string join(worker_id id, std::uint32_t places, bool lent = false) { return on(worker_joined{id, places, 0, "rollout/" + std::to_string(id), lent}); }
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
  set.burst = 1;
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
  set.burst = 0;
  CHECK(wrong_with(set) == "burst: found 0, want steps' worth of groups above 0, or inf: nothing could start");
}

TEST_CASE("tokens_per_step: a step is cut as soon as its groups have so many tokens, and the gate counts steps") {
  auto set = two_by(3, "skyrl");
  set.groups_per_step = 4;
  set.depth = 0;
  set.tokens_per_step = 25;
  bench run{scheduler(set)};
  run.join(0, 8);
  CHECK(run.it.at().generating == 4);
  CHECK(run.done(2, 0, 9) == "");
  CHECK(run.done(1, 0, 9) == "");
  CHECK(run.done(3, 0, 9) == "cut 0: 1 2 3"); // 27 of 25 tokens; without the last it would be 18
  run.on(batch_trained{0, 27});
  // Group 0 is one of step 1's four: the fourth of step 0 was not needed and is not made up for.
  CHECK(run.on(version_acknowledged{0, 1}) == "admit 4#1 w0 v1, admit 5#1 w0 v1, admit 6#1 w0 v1");
  set.minibatches = 2;
  CHECK(wrong_with(set) == "tokens_per_step: found 25, want 0 with minibatches: updates of a step are of one size");
}

TEST_CASE("on_policy_min: a share of each batch is of the newest weights") {
  auto set = two_by(4, "areal");
  set.depth = 1;
  set.on_policy_min = 0.5;
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
  set.select = select_order::in_order;
  CHECK(wrong_with(set) == "on_policy_min: found 0.5, want 0 with order in_order, which says each batch's groups already");
}

TEST_CASE("unit update: the bound holds within a step too") {
  auto set = two_by(9, "prime_rl");
  set.groups_per_step = 2;
  set.minibatches = 2;
  set.min_ready = 1;
  set.depth = 1;
  set.unit = lag_unit::update;
  set.stale_max = 2; // of version 0: update 0 of step 1 still may, update 1 may not
  bench run{scheduler(set)};
  run.join(0, 4); // 0 to 3
  CHECK(run.done(0) == "cut 0.0: 0");
  run.done(1);
  run.done(2);
  run.done(3);
  CHECK(run.on(batch_trained{0, 10, 0, 0}) == "cut 0.1: 1");
  CHECK(run.on(batch_trained{0, 10, 0, 1}).starts_with("publish 1: w0, cut 1.0: 2"));
  CHECK(run.on(batch_trained{1, 10, 0, 0}).starts_with("drop 3 stale"));
  set.stale_max = 0;
  CHECK(wrong_with(set) == "stale_max: found 0, want at least 1 with unit update: so far is a step's last update from the weights that it began with");
}

TEST_CASE("lend: the learner's hardware starts no group once enough of the next batch is ready, and again after the step") {
  auto set = two_by(9, "areal");
  set.depth = 2;
  set.place = place_mode::lend;
  set.reclaim_at = 1;
  bench run{scheduler(set)};
  CHECK(run.join(0, 1, true) == "admit 0#1 w0 v0");
  CHECK(run.join(1, 1) == "admit 1#1 w1 v0");
  CHECK(run.done(0) == "admit 2#1 w0 v0");
  CHECK(run.done(1) == "admit 3#1 w1 v0 | cut 0: 0 1");
  CHECK(run.done(2) == "admit 4#1 w0 v0");      // nothing of the next batch was ready
  CHECK(run.done(3) == "admit 5#1 w1 v0 | interrupt 4#1 w0"); // now all of it is: what runs on lent hardware is handed back
  CHECK(run.on(group_interrupted{4, 1, {{0, 3}}}) == "");
  CHECK(run.on(group_finished{5, 1, {{0, 10}}}) == "admit 4#2 w1 v0 resume"); // its own hardware goes on
  run.on(batch_trained{0, 20});
  CHECK(run.on(version_acknowledged{0, 1}) == ""); // step 1 trains at once; of the next batch one is there
  set.reclaim_at = 0;
  CHECK(wrong_with(set) == "reclaim_at: found 0, want above 0 with place lend: timeshare never generates beside training");
  set.reclaim_at = 0.5;
  set.depth = 0;
  CHECK(wrong_with(set) == "place: found lend, want disjoint or timeshare with depth 0: nothing of the next batch is generated while one is trained");
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
  set.place = place_mode::lend;
  set.reclaim_at = 1;
  const auto lent = simulate(set, costs);
  CHECK(lent.step_s() < 0.8 * disjoint.step_s());
  CHECK(lent.books.dropped[static_cast<std::size_t>(drop_reason::stale)].tokens < disjoint.books.dropped[static_cast<std::size_t>(drop_reason::stale)].tokens / 2);
  costs.own_workers = 1; // hardware of its own: nothing to take back, nothing that slows training down
  const auto own = simulate(set, costs);
  CHECK(own.step_s() == doctest::Approx((1 + 50 * 4.0) / 50).epsilon(0.01));
}

TEST_CASE("call_deadline_s: under virtual time what takes longer is generated again, then given up") {
  workload costs;
  costs.answers_per_group = 1;
  costs.lengths = {{100}, {100}, {900}, {100}};
  costs.tokens_per_s = 100;
  auto set = preset("synchronous");
  set.groups_per_step = 4;
  set.steps = 2;
  set.attempts_per_group = 2;
  set.call_deadline_s = 5;
  const auto made = simulate(set, costs);
  CHECK(made.steps == 2);
  CHECK(made.books.dropped[static_cast<std::size_t>(drop_reason::attempts)].groups == 2);
}
