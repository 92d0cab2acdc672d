#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/virtual_time.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <map>

namespace virtual_turns_test {

using namespace millrace;
using namespace millrace::schedule;

namespace {

config one_step(std::uint32_t groups, std::uint32_t steps = 1) {
  auto set = preset("synchronous");
  set.groups_per_step = groups;
  set.steps = steps;
  return set;
}

/// New weights come in flight.
config one_group_a_step(std::uint32_t steps) {
  auto set = preset("bounded");
  set.gate.depth = 1;
  set.stale.max = 4;
  set.groups_per_step = 1;
  set.steps = steps;
  return set;
}

/// Episodes of two turns of 50 tokens at 100 tokens/s, alone in their groups. An environment says 20 tokens after 0.3
/// s, which are read in 0.2 s.
workload two_turns(std::uint32_t groups, std::uint32_t slots) {
  workload costs;
  costs.groups_per_worker = groups;
  costs.answers_per_group = 1;
  costs.slots = slots;
  costs.mean_tokens = 100;
  costs.max_tokens = 1000;
  costs.turns = 2;
  costs.reply_s = 0.3;
  costs.observed_tokens = 20;
  costs.resume_token_s = 0.01;
  costs.tokens_per_s = 100;
  costs.train_s = 0;
  return costs;
}

/// When each group ended.
std::map<group_id, double> ends_of(const config& set, const workload& costs) {
  std::map<group_id, double> ends;
  simulate(set, costs, [&](const event& what, const std::vector<action>&, const scheduler&, double now_s) {
    if (const auto* ended = std::get_if<group_finished>(&what))
      ends[ended->group] = now_s;
  });
  return ends;
}

void check_ends(const std::map<group_id, double>& ends, const std::vector<double>& wanted) {
  REQUIRE(ends.size() == wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    CAPTURE(i);
    CHECK(ends.at(i) == doctest::Approx(wanted[i]));
  }
}

} // namespace

TEST_CASE("an episode decodes its turns, waits for a reply to each, and reads all but the last") {
  const auto made = simulate(one_step(1), two_turns(1, 1));
  CHECK(made.seconds == doctest::Approx(0.5 + 0.3 + 0.2 + 0.5 + 0.3));
  CHECK(made.books.trained.tokens == 100); // what the environment said counts nowhere
  CHECK(made.most_waiting.answers == 1);
  CHECK(made.most_waiting.groups == 1);
}

TEST_CASE("a slot is free while a reply is awaited: two episodes share one") {
  // A: 0 to 0.5; there again at 0.8, has the slot at 1.0, reads until 1.2, decodes until 1.7, is over at 2.0.
  // B: 0.5 to 1.0; there again at 1.3, has the slot at 1.7, reads until 1.9, decodes until 2.4, is over at 2.7.
  check_ends(ends_of(one_step(2), two_turns(2, 1)), {2.0, 2.7});
}

TEST_CASE("more episodes than slots: who comes back waits for a slot, the oldest group first") {
  auto costs = two_turns(4, 2);
  costs.observed_tokens = 0;
  // Two at once: 0 and 1 until 0.5, 2 and 3 until 1.0, 0 and 1 again until 1.5, 2 and 3 again until 2.0.
  check_ends(ends_of(one_step(4), costs), {1.8, 1.8, 2.3, 2.3});
  // Six: with a reply after 0.1 s group 0 is there again at 0.6, before 2 and 3 leave; it goes before 4 and 5.
  costs.reply_s = 0.1;
  costs.groups_per_worker = 6;
  check_ends(ends_of(one_step(6), costs), {1.6, 1.6, 2.1, 2.1, 3.2, 3.2});
}

TEST_CASE("an answer that goes on comes before those of its group that have not begun") {
  auto costs = two_turns(1, 1);
  costs.answers_per_group = 2;
  costs.reply_s = costs.observed_tokens = 0;
  costs.lengths = {{100, 60}};
  costs.turns_played = {{2, 1}};
  // 0.5 and 0.5 of the first, 0.6 of the second.
  check_ends(ends_of(one_step(1), costs), {1.6});
  costs.reply_s = 0.1;
  // The second has the slot meanwhile, until 1.1: the first goes on until 1.6.
  check_ends(ends_of(one_step(1), costs), {1.7});
}

TEST_CASE("max_turns cuts an episode, and the turn that fills an answer awaits its reply too") {
  auto costs = two_turns(1, 1);
  costs.mean_tokens = 90;
  costs.turns = 10;
  costs.max_turns = 3;
  CHECK(simulate(one_step(1), costs).seconds == doctest::Approx(0.9 + 3 * 0.3 + 2 * 0.2));
  // 90 of the 130 tokens are left for the policy: with them it is full.
  costs.mean_tokens = 500;
  costs.max_tokens = 130;
  const auto full = simulate(one_step(1), costs);
  CHECK(full.books.trained.tokens == 90);
  CHECK(full.seconds == doctest::Approx(0.9 + 3 * 0.3 + 2 * 0.2));
}

TEST_CASE("a group's episodes begin when their environment has begun them, and its worker decodes others meanwhile") {
  auto costs = two_turns(1, 1);
  const auto at_once = simulate(one_step(1), costs);
  costs.begin_s = 0.4;
  const auto later = simulate(one_step(1), costs);
  CHECK(later.seconds == doctest::Approx(at_once.seconds + 0.4));
  CHECK(later.books.trained.tokens == at_once.books.trained.tokens);
  CHECK(later.most_waiting.tokens == at_once.most_waiting.tokens);
  costs.turns = costs.reply_s = costs.observed_tokens = 0;
  CHECK_THROWS_WITH(simulate(one_step(1), costs), doctest::Contains("begin_s: want 0, or more with turns"));
}

TEST_CASE("more turns than tokens: every turn has one") {
  auto costs = two_turns(1, 1);
  costs.mean_tokens = 1;
  costs.turns = 4;
  CHECK(simulate(one_step(1), costs).books.trained.tokens == 4);
}

TEST_CASE("turns and replies are drawn by group and answer, with the mean and the spread that were asked for") {
  auto costs = two_turns(1, 1);
  costs.turns = 6;
  costs.turns_cv = 0.5;
  costs.reply_cv = 0.5;
  double turns = 0, seconds = 0, squares = 0;
  constexpr int count = 20000;
  for (group_id id = 0; id < count; ++id) {
    turns += answer_turns(costs, id, 3);
    const auto drawn = reply_s(costs, id, 3, 2);
    seconds += drawn;
    squares += drawn * drawn;
  }
  CHECK(turns / count == doctest::Approx(6).epsilon(0.02));
  const auto mean = seconds / count;
  CHECK(mean == doctest::Approx(0.3).epsilon(0.02));
  CHECK(std::sqrt(squares / count - mean * mean) / mean == doctest::Approx(0.5).epsilon(0.05));
  CHECK(reply_s(costs, 7, 3, 2) == reply_s(costs, 7, 3, 2));
  CHECK(reply_s(costs, 7, 3, 2) != reply_s(costs, 7, 3, 3));
  costs.replies_s = {0.1, 0.5, 0.5, 0.5};
  double measured = 0;
  for (group_id id = 0; id < count; ++id)
    measured += reply_s(costs, id, 3, 2);
  CHECK(measured / count == doctest::Approx(0.4).epsilon(0.02));
  costs.max_turns = 4;
  for (group_id id = 0; id < 100; ++id)
    CHECK(answer_turns(costs, id, 3) <= 4);
}

// Version 1 is live at 0.75: group 1, whose environment replies at 0.8, has 50 tokens of its own and reads 20 more.
TEST_CASE("an episode that waits at a flip computes what it has again, if the flip says so") {
  auto set = one_group_a_step(2);
  auto costs = two_turns(2, 2);
  costs.lengths = {{40}, {100}};
  costs.turns_played = {{1}, {2}};
  costs.train_s = 0.05;
  set.interrupt.kv = kv_on_flip::keep;
  check_ends(ends_of(set, costs), {0.7, 1.8});
  set.interrupt.kv = kv_on_flip::recompute;
  check_ends(ends_of(set, costs), {0.7, 1.8 + 0.5});
}

// Group 0 ends at 0.1 and is over at 0.4, version 1 is there at 0.45. Group 1 writes its first turn until 0.5.
TEST_CASE("cut between turns, new weights wait for the turns that run, and none begins meanwhile") {
  auto set = one_group_a_step(3);
  auto costs = two_turns(3, 2);
  costs.lengths = {{10}, {100}, {20}};
  costs.turns_played = {{1}, {2}, {1}};
  costs.train_s = 0.05;
  const auto times = [&] {
    std::map<version_id, double> live;
    simulate(set, costs, [&](const event& what, const std::vector<action>&, const scheduler&, double now_s) {
      if (const auto* runs = std::get_if<version_acknowledged>(&what))
        live[runs->version] = now_s;
    });
    return live;
  };
  CHECK(times().at(1) == doctest::Approx(0.45));
  // The third group comes with the version, at 0.45.
  check_ends(ends_of(set, costs), {0.4, 1.8, 0.95});
  set.interrupt.granularity = interrupt_granularity::turn;
  CHECK(times().at(1) == doctest::Approx(0.5));
  check_ends(ends_of(set, costs), {0.4, 1.8, 1.0}); // the third has a slot from 0.5 on
}

// Answers that end a turn and are replied to at once take their slots again. Lengths are so different that no two
// workers end an answer at once: who comes first then is nobody's matter.
TEST_CASE("turns without latency and without observed tokens take as long as answers of one turn, for every preset") {
  for (const auto& row : presets())
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      CAPTURE(std::string(row.name));
      CAPTURE(seed);
      auto set = row.schedule;
      set.groups_per_step = 4;
      set.steps = 12;
      set.faults.attempts = 1000;
      workload costs;
      costs.workers = 2;
      costs.groups_per_worker = 4;
      costs.slots = 10;
      costs.max_tokens = 100000;
      costs.decode = {{1, 1e-4}, {10, 3e-4}};
      costs.prefill_s = 0.02;
      costs.resume_token_s = 1e-6;
      costs.publish_s = 0.05;
      costs.worker_life_s = 200;
      costs.train_s = 2;
      costs.seed = seed;
      costs.turns = 3;
      costs.lengths.resize(997);
      costs.turns_played.resize(997);
      for (group_id id = 0; id < 997; ++id)
        for (std::uint32_t answer = 0; answer < costs.answers_per_group; ++answer) {
          costs.lengths[id].push_back(
              static_cast<std::int32_t>(20 + (id * 7919 + answer * 104729) * 2654435761u % 20011));
          costs.turns_played[id].push_back(1 + static_cast<std::int32_t>((id + 3 * answer) % 5));
        }
      const auto turns = simulate(set, costs);
      costs.turns = 0;
      costs.turns_played.clear();
      const auto whole = simulate(set, costs);
      CHECK(turns.seconds == doctest::Approx(whole.seconds).epsilon(1e-6));
      CHECK(turns.books == whole.books);
      CHECK(turns.stale.mean_by_token() == doctest::Approx(whole.stale.mean_by_token()));
    }
}

TEST_CASE("episodes with slow replies come to an end under every preset, whoever dies or is interrupted") {
  for (const auto& row : presets()) {
    CAPTURE(std::string(row.name));
    auto set = row.schedule;
    set.groups_per_step = 8;
    set.steps = 20;
    set.faults.attempts = 1000;
    auto costs = two_turns(8, 16);
    costs.workers = 2;
    costs.answers_per_group = 4;
    costs.length_cv = costs.turns_cv = costs.reply_cv = 1;
    costs.turns = 4;
    costs.reply_s = 2;
    costs.worker_life_s = 60;
    costs.train_s = 1;
    const auto slow = simulate(set, costs);
    CHECK(slow.steps == 20);
    CHECK(slow.most_waiting.answers > 1);
    costs.reply_s = 0;
    CHECK(simulate(set, costs).seconds < slow.seconds);
  }
}

TEST_CASE("cut between turns, every preset that cuts comes to its end, and every turn is of one version") {
  int presets_cut = 0;
  for (const auto& row : presets())
    for (const double reply_s : {0.0, 2.0}) {
      CAPTURE(std::string(row.name));
      auto set = row.schedule;
      set.interrupt.granularity = interrupt_granularity::turn;
      set.groups_per_step = 8;
      set.steps = 20;
      set.faults.attempts = 1000;
      auto costs = two_turns(8, 16);
      costs.workers = 2;
      costs.answers_per_group = 4;
      costs.length_cv = costs.reply_cv = 1;
      costs.turns = 1; // then the oldest version of an answer is that of all its tokens
      costs.reply_s = reply_s;
      costs.train_s = 1;
      try {
        auto many = costs;
        many.turns = 4;
        many.turns_cv = 1;
        many.worker_life_s = 60;
        const auto played = simulate(set, many);
        CHECK(played.steps == 20);
        const auto made =
            simulate(set, costs, [](const event& what, const std::vector<action>&, const scheduler&, double) {
              if (const auto* ended = std::get_if<group_finished>(&what))
                CHECK(ended->tokens == ended->answers);
            });
        CHECK(made.steps == 20);
        ++presets_cut;
      } catch (const input_error& never_cuts) {
        CHECK(std::string(never_cuts.what()).find("interrupt.granularity") != std::string::npos);
      }
    }
  CHECK(presets_cut >= 12);
}

TEST_CASE("costs of turns that mean nothing are refused") {
  auto costs = two_turns(1, 1);
  costs.turns = 0.5;
  CHECK_THROWS_WITH_AS(check(costs), "workload: turns: want at least 1, or 0 for answers that are no episodes",
                       input_error);
  costs.turns = 0;
  CHECK_THROWS_WITH_AS(check(costs), "workload: reply_s, observed_tokens: want turns of at least 1 with them",
                       input_error);
  costs = two_turns(1, 1);
  costs.lengths = {{3, 4}};
  costs.turns_played = {{3}};
  CHECK_THROWS_WITH_AS(check(costs), "workload: turns_played: want turns for each answer of lengths", input_error);
  costs.turns_played = {{3, 0}};
  CHECK_THROWS_WITH_AS(check(costs), "workload: turns_played: want at least 1 for each answer", input_error);
  costs.replies_s = {-1};
  CHECK_THROWS_AS(check(costs), input_error);
  costs.replies_s.clear();
  costs.reply_s = -1;
  CHECK_THROWS_AS(check(costs), input_error);
}

} // namespace virtual_turns_test
