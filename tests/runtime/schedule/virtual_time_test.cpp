#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/virtual_time.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace virtual_time_test {

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

/// Four places, every answer 100 tokens at 100 tokens/s.
workload even() {
  workload costs;
  costs.mean_tokens = 100;
  costs.max_tokens = 1000;
  costs.tokens_per_s = 100;
  costs.columns_s = 0.5;
  costs.train_s = 2;
  costs.publish_s = 0.25;
  return costs;
}

/// The long-tailed job of the literature in small: 64 groups of 8, mean 6,000 tokens cut at 32,000, 60 s a step.
workload long_tail() {
  workload costs;
  costs.groups_per_worker = 128;
  costs.mean_tokens = 6000;
  costs.length_cv = 1.2;
  costs.max_tokens = 32000;
  costs.tokens_per_s = 60;
  costs.train_s = 60;
  costs.publish_s = 3;
  return costs;
}

prediction long_tail(std::uint32_t depth, std::uint32_t stale_max, stale_action action) {
  auto set = made("bounded", 64, 100);
  set.gate.depth = depth;
  set.stale.max = stale_max;
  set.stale.action = action;
  if (action == stale_action::train)
    set.stale.max = unlimited;
  return simulate(set, long_tail());
}

/// Share of the groups trained that were more than `bound` versions old.
double late_share(const prediction& result, std::uint32_t bound) {
  std::int64_t late = 0;
  for (const auto& [versions, bucket] : result.stale.at_use)
    late += versions > bound ? bucket.groups : 0;
  return static_cast<double>(late) / static_cast<double>(result.books.trained.groups);
}

} // namespace

TEST_CASE("ranks train micro-batches in rounds that end with their longest") {
  workload costs = even();
  costs.train_token_s = 0.01;
  costs.micro_batch_tokens = 100;
  costs.rank_contention = 1.25;
  costs.exchange_s = 0.1;
  // Groups of one answer; all but its last token is fed.
  const auto seconds = [&](std::uint32_t ranks, const std::vector<std::int32_t>& lengths) {
    costs.ranks = ranks;
    std::vector<std::vector<std::int32_t>> groups;
    double fed = 0;
    for (const auto length : lengths) {
      groups.push_back({length + 1});
      fed += length;
    }
    return training_s(costs, groups, fed);
  };
  const auto whole = [](std::size_t count) { return std::vector<std::int32_t>(count, 100); };
  CHECK(seconds(1, whole(32)) == doctest::Approx(32));
  CHECK(seconds(2, whole(32)) == doctest::Approx(16 * (1.25 + 0.1)));
  CHECK(seconds(2, whole(33)) == doctest::Approx(16 * (1.25 + 0.1) + 1 + 0.1)); // the last has nobody beside it
  CHECK(seconds(2, {90, 60}) == doctest::Approx(0.6 * 1.25 + 0.3 + 0.1));       // alone for the last 30
  CHECK(seconds(2, {50, 100, 100}) == doctest::Approx(1.25 + 0.1 + 0.5 + 0.1)); // the shortest comes last
  CHECK(seconds(2, {50, 50, 100}) == doctest::Approx(1.25 + 0.1));              // two fit into one
  costs.rank_contention = 3;
  CHECK(seconds(4, whole(4)) == doctest::Approx(3 + 0.1));
  CHECK(seconds(4, whole(6)) == doctest::Approx(3 + 0.1 + 1.5 + 0.1)); // half as many share the hardware
  costs.updates = 2;
  CHECK(seconds(4, whole(6)) == doctest::Approx(2 * (3 * 0.75 + 0.1)));
  costs.flat_share = 0.5; // twice as many groups come to a micro-batch: two and one, which go on as 3 * 2/4 and 1
  CHECK(seconds(4, whole(6)) == doctest::Approx(2 * (1.5 + 1 + 0.1)));
}

TEST_CASE("a prompt is fed with its group, and again where the group is cut") {
  workload costs = even();
  costs.ranks = 2;
  costs.train_token_s = 0.01;
  costs.train_square_s = 0.001;
  costs.micro_batch_tokens = 100;
  costs.prompt_tokens = 40;
  const std::vector<std::vector<std::int32_t>> groups{{31, 31, 31}};
  // 40 + 30 + 30 and 40 + 30 are fed: the tokens' seconds go by that, those of attention by the answers.
  const double tokens_s = 0.01 * 93 / 170, square_s = 0.001 * 31 * 31;
  CHECK(training_s(costs, groups, 93) == doctest::Approx(100 * tokens_s + 2 * square_s));
  costs.whole_groups = 1;
  CHECK(training_s(costs, groups, 93) == doctest::Approx(0.93 + 3 * square_s));
}

TEST_CASE("a step of ranks under virtual time is as long as its rounds") {
  workload costs = even();
  costs.ranks = 2;
  costs.train_token_s = 0.01;
  costs.micro_batch_tokens = 99;
  costs.rank_contention = 1.25;
  costs.exchange_s = 0.1;
  const auto result = simulate(made("synchronous", 4, 10), costs);
  CHECK(result.seconds == doctest::Approx(10 * (1.0 + 0.5 + 2 + 16 * 1.35) + 9 * 0.25));
  costs.ranks = 0;
  CHECK_THROWS_WITH_AS(check(costs), "workload: ranks, rank_contention, updates: want at least 1 of each", input_error);
}

TEST_CASE("synchronous steps take generation, columns, training and publication one after another") {
  const auto result = simulate(made("synchronous", 4, 10), even());
  // The last step publishes nothing.
  CHECK(result.seconds == doctest::Approx(10 * (1.0 + 0.5 + 2) + 9 * 0.25));
  CHECK(result.learner_busy_s == doctest::Approx(20));
  CHECK(result.place_busy_s == doctest::Approx(40));
  CHECK(result.books.trained.tokens == 10 * 4 * 8 * 100);
}

TEST_CASE("one_step_off hides generation behind training") {
  const auto result = simulate(made("one_step_off", 4, 10), even());
  // Batch 1 follows batch 0 at once; from then on training never waits: first batch, then ten steps.
  CHECK(result.seconds == doctest::Approx(1.5 + 10 * 2));
  CHECK(result.stale.at_use.at(1).groups == 36);
  CHECK(result.stale.max() == 1);
}

TEST_CASE("generation stands still while weights are taken and the tokens after it carry the new version") {
  auto set = made("bounded", 1, 2);
  auto costs = even();
  costs.answers_per_group = 1;
  costs.groups_per_worker = 2;
  costs.mean_tokens = 1000;
  costs.length_cv = 1;
  costs.max_tokens = 10000;
  costs.columns_s = 0;
  costs.train_s = 0.5;
  std::vector<double> ends;
  std::vector<group_finished> reports;
  simulate(set, costs, [&](const event& what, const std::vector<action>&, const scheduler&, double now_s) {
    if (const auto* ended = std::get_if<group_finished>(&what)) {
      ends.push_back(now_s);
      reports.push_back(*ended);
    }
  });
  REQUIRE(reports.size() == 2);
  const auto first = reports[0].tokens.sum();
  // The first answer ends, is trained for 0.5 s, then the second pauses for 0.25 s.
  CHECK(ends[0] == doctest::Approx(first / 100.0));
  CHECK(reports[1].tokens.newest() == 1);
  CHECK(*reports[1].tokens.begin() == version_tokens{0, first + 50});
  CHECK(ends[1] == doctest::Approx(static_cast<double>(reports[1].tokens.sum()) / 100.0 + 0.25));
}

TEST_CASE("costs decide the prediction and nothing else does") {
  auto costs = long_tail();
  const auto set = made("bounded", 64, 20);
  const auto once = simulate(set, costs);
  const auto again = simulate(set, costs);
  CHECK(once.seconds == again.seconds);
  CHECK(once.books == again.books);
  costs.seed = 2;
  CHECK(simulate(set, costs).seconds != once.seconds);
}

TEST_CASE("workers that die cost tokens and time, never a group") {
  auto costs = even();
  costs.workers = 3;
  costs.length_cv = 1;
  costs.worker_life_s = 20;
  auto set = made("bounded", 4, 60);
  set.faults.attempts = 1000;
  const auto calm = [&] {
    auto quiet = costs;
    quiet.worker_life_s = 0;
    return simulate(set, quiet);
  }();
  const auto result = simulate(set, costs);
  CHECK(result.workers_lost > 5);
  CHECK(result.books.trained.groups == 240);
  CHECK(result.seconds > calm.seconds);
  CHECK(result.late_groups == 0);
}

// The reference simulation of async-systems.md 6.6 (another program, 300 steps): step seconds and share of late groups.
TEST_CASE("on a long tail the count bound is fast and late, the deadline rule slower and never late") {
  struct row {
    std::uint32_t bound;
    double count_step_s;
    double count_late;
    double wait_step_s;
  };

  constexpr double other_lengths = 0.06; // both draw their own lengths
  CHECK(simulate(made("synchronous", 64, 100), long_tail()).step_s() == doctest::Approx(606).epsilon(other_lengths));
  for (const auto& want : {row{1, 218, 0.22, 305}, row{2, 145, 0.27, 205}, row{4, 139, 0.05, 142}}) {
    CAPTURE(want.bound);
    const auto count = long_tail(want.bound, want.bound, stale_action::train);
    const auto wait = long_tail(want.bound, want.bound, stale_action::wait);
    CHECK(count.step_s() == doctest::Approx(want.count_step_s).epsilon(other_lengths));
    CHECK(std::abs(late_share(count, want.bound) - want.count_late) < 0.03);
    CHECK(wait.step_s() == doctest::Approx(want.wait_step_s).epsilon(other_lengths));
    CHECK(wait.late_groups == 0);
    CHECK(wait.stale.max() <= want.bound);
    CHECK(wait.length_ratio() == doctest::Approx(1).epsilon(0.02));
  }
}

TEST_CASE("depth beyond what hides the tail buys staleness, not speed") {
  auto costs = long_tail();
  costs.groups_per_worker = 320;
  costs.train_s = 140;
  auto set = made("bounded", 64, 60);
  set.stale.action = stale_action::train;
  set.stale.max = unlimited;
  set.gate.depth = 4;
  const auto four = simulate(set, costs);
  set.gate.depth = 8;
  const auto eight = simulate(set, costs);
  CHECK(eight.step_s() == doctest::Approx(four.step_s()).epsilon(0.01));
  CHECK(four.stale.mean_by_group() == doctest::Approx(3.9).epsilon(0.05));
  CHECK(eight.stale.mean_by_group() == doctest::Approx(7.5).epsilon(0.05));
}

TEST_CASE("costs that mean nothing are refused") {
  auto costs = even();
  costs.workers = 0;
  CHECK_THROWS_AS(simulate(preset("synchronous"), costs), millrace::input_error);
  costs = even();
  costs.train_s = -1;
  CHECK_THROWS_AS(simulate(preset("synchronous"), costs), millrace::input_error);
  costs = even();
  costs.answers_per_group = 8;
  costs.mean_tokens = costs.max_tokens = 1e9;
  CHECK_THROWS_WITH_AS(simulate(preset("synchronous"), costs),
                       "workload: found a group of 8000000000 tokens, want fewer than 2^32", millrace::input_error);
}

// The bound by waiting does not choose: what is trained has the lengths of what is generated. Dropping chooses short
// ones. Over 60 seeds the ratio of mean lengths is normal about 1: its mean lies within 4 standard errors.
TEST_CASE("completion order does not bias what is trained under wait, and does under drop") {
  const auto ratios = [](stale_action action) {
    std::vector<double> found;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
      auto costs = long_tail();
      costs.seed = seed;
      costs.groups_per_worker = 32;
      auto set = made("bounded", 16, 60);
      set.gate.depth = 1;
      set.stale.max = 1;
      set.stale.action = action;
      found.push_back(simulate(set, costs).length_ratio());
    }
    return found;
  };
  const auto mean = [](const std::vector<double>& all) {
    double sum = 0;
    for (const auto one : all)
      sum += one;
    return sum / static_cast<double>(all.size());
  };
  const auto wait = ratios(stale_action::wait);
  double spread = 0;
  for (const auto one : wait)
    spread += (one - mean(wait)) * (one - mean(wait));
  const auto error = std::sqrt(spread / static_cast<double>(wait.size() - 1) / static_cast<double>(wait.size()));
  CHECK(std::abs(mean(wait) - 1) < 4 * error + 1e-4);
  CHECK(std::abs(mean(wait) - 1) < 0.01);
  CHECK(mean(ratios(stale_action::drop)) < 0.95);
}

// One group of one answer is generated while another is trained: both are slower only as long as both go on.
TEST_CASE("training and decoding slow each other down while both go on, and no longer") {
  auto set = made("bounded", 1, 2);
  set.gate.depth = 1;
  auto costs = even();
  costs.groups_per_worker = 1;
  costs.answers_per_group = 1;
  costs.lengths = {{100}, {200}};
  costs.columns_s = costs.publish_s = 0;
  costs.train_s = 1;
  costs.contention = 2;
  costs.train_contention = 4;
  const auto result = simulate(set, costs);
  REQUIRE(result.trained.size() == 2);
  // Group 0 takes 1 s. Then group 1 (2 s of decoding) runs at half speed and update 0 (1 s) at a quarter: the update
  // ends at 5, group 1 as well, having decoded 4 s at half speed; update 1 has the machine to itself.
  CHECK(result.trained[0].end_s == doctest::Approx(5));
  CHECK(result.trained[1].end_s == doctest::Approx(6));
  // With 50 tokens more group 1 goes on alone for 0.5 s; with 100 fewer the update does its last 3/4 - 1/4 alone.
  costs.lengths = {{100}, {250}};
  CHECK(simulate(set, costs).trained[1].end_s == doctest::Approx(5 + 0.5 + 1));
  costs.lengths = {{100}, {100}};
  CHECK(simulate(set, costs).trained[0].end_s == doctest::Approx(1 + 2 + (1 - 2.0 / 4)));
}

// Version 1 is staged from 1 to 2 s with nothing else, or from 2 s on beside an update of 2 s and an answer of 3 s:
// then all three take twice as long until it is staged at 4 s.
TEST_CASE("while weights are laid out beside training and decoding, all three take longer") {
  auto set = made("bounded", 1, 3);
  set.gate.depth = 1;
  set.stale.max = 3;
  auto costs = even();
  costs.groups_per_worker = 2;
  costs.answers_per_group = 1;
  costs.lengths = {{100}, {100}, {300}};
  costs.columns_s = costs.publish_s = 0;
  costs.train_s = 1;
  costs.layout_s = 1;
  std::vector<double> flips, ends;
  const auto watch = [&](const event& what, const std::vector<action>&, const scheduler&, double now_s) {
    if (std::holds_alternative<version_acknowledged>(what))
      flips.push_back(now_s);
    if (std::holds_alternative<group_finished>(what))
      ends.push_back(now_s);
  };
  const auto alone = simulate(set, costs, watch);
  // Groups 0 and 1 end at 1; update 0 ends at 2, version 1 is staged until 3, while update 1 is trained; group 2 starts
  // at 3.
  REQUIRE(!flips.empty());
  CHECK(flips[0] == doctest::Approx(3));
  CHECK(alone.trained[1].end_s == doctest::Approx(3));
  // With more lead group 2 is decoded from 1 on: beside update 1 and the layout from 2 on.
  flips.clear();
  ends.clear();
  set.gate.depth = 2;
  costs.layout_contention = 2;
  costs.groups_per_worker = 3;
  const auto crowded = simulate(set, costs, watch);
  CHECK(flips[0] == doctest::Approx(2 + 2));
  CHECK(crowded.trained[1].end_s == doctest::Approx(2 + 2));
  CHECK(ends[2] == doctest::Approx(2 + 2)); // 2 s done, the third takes 2
}

TEST_CASE(
    "the learner copies its weights before it trains on, the first update is slower, and the pace leaves it out") {
  auto set = made("one_step_off", 4, 4);
  auto costs = even();
  costs.columns_s = costs.publish_s = 0;
  costs.first_train_s = 5;
  costs.copy_s = 0.25;
  const auto result = simulate(set, costs);
  REQUIRE(result.trained.size() == 4);
  CHECK(result.trained[0].end_s == doctest::Approx(1 + 2 + 5));
  CHECK(result.trained[1].end_s == doctest::Approx(8 + 0.25 + 2));
  CHECK(result.trained[2].end_s == doctest::Approx(8 + 2 * 2.25));
  // Nobody needs the last two versions.
  CHECK(result.seconds == doctest::Approx(8 + 2 * 2.25 + 2));
  CHECK(result.learner.transfer * result.seconds == doctest::Approx(0.5));
  const auto pace = pace_of({{8, 100}, {10, 50}, {14, 70}});
  CHECK(pace.step_s == doctest::Approx(3));
  CHECK(pace.tokens_per_s == doctest::Approx(20));
}

TEST_CASE("latencies of tools are drawn by group, with the mean and the spread that was asked for") {
  workload costs;
  costs.columns_s = 3;
  costs.columns_cv = 0.5;
  double sum = 0, squares = 0;
  constexpr int count = 20000;
  for (group_id id = 0; id < count; ++id) {
    const auto drawn = columns_s(costs, id);
    CHECK_MESSAGE(drawn > 0, "group " << id);
    sum += drawn;
    squares += drawn * drawn;
  }
  const auto mean = sum / count;
  CHECK(mean == doctest::Approx(3).epsilon(0.02));
  CHECK(std::sqrt(squares / count - mean * mean) / mean == doctest::Approx(0.5).epsilon(0.05));
  CHECK(columns_s(costs, 7) == columns_s(costs, 7));
}

TEST_CASE("fewer answers decode faster, and those without a slot wait") {
  workload costs;
  costs.groups_per_worker = 2;
  costs.answers_per_group = 2;
  costs.slots = 2;
  costs.lengths = {{10, 20}, {30, 30}};
  costs.decode = {{1, 0.1}, {2, 0.2}};
  costs.train_s = 0;
  std::vector<double> ends;
  simulate(made("synchronous", 2, 1), costs,
           [&](const event& what, const std::vector<action>&, const scheduler&, double now_s) {
             if (std::holds_alternative<group_finished>(what))
               ends.push_back(now_s);
           });
  // Two slots: 10 and 10 of 20 at 0.2 s; then 20's other ten beside the first 30; its last 20 beside the second 30, and
  // so on.
  REQUIRE(ends.size() == 2);
  CHECK(ends[0] == doctest::Approx(20 * 0.2));
  CHECK(ends[1] == doctest::Approx(20 * 0.2 + 20 * 0.2 + 10 * 0.1));
}

TEST_CASE("shares of time sum to one for the learner and for the rollouts, for every preset") {
  for (const auto& row : presets()) {
    CAPTURE(std::string(row.name));
    auto set = row.schedule;
    set.groups_per_step = 8;
    set.steps = 20;
    auto costs = long_tail();
    costs.workers = 2;
    costs.groups_per_worker = 8;
    costs.worker_life_s = 4000;
    costs.copy_s = 5;
    costs.checkpoint_s = 7;
    set.checkpoint_every = 4;
    set.faults.attempts = 1000;
    const auto made_of = simulate(set, costs);
    const auto& l = made_of.learner;
    const auto& r = made_of.rollout;
    CHECK(l.compute + l.transfer + l.wait_input + l.wait_bound + l.wait_turn + l.saving
          == doctest::Approx(1).epsilon(1e-6));
    CHECK(r.compute + r.wait_credit + r.wait_weights + r.paused + r.dead == doctest::Approx(1).epsilon(1e-6));
    CHECK(made_of.steps == 20);
  }
}

} // namespace virtual_time_test
