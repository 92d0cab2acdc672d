#include "runtime/roles/decode_loop.hpp"
#include "tests/runtime/rollout/tiny_engine.hpp"
#include "tests/support/eventually.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

/// A decode loop that cuts between turns.
namespace decode_loop_turns_test {

using namespace millrace;
using namespace millrace::roles;
using tests::tiny_engine::letters;
using tests::tiny_engine::tiny;

namespace {

constexpr std::int32_t last_turn = 4; ///< of every episode

struct what_happened {
  std::map<std::uint64_t, rollout::finished_group> ends;
  std::vector<rollout::partial_group> handed;
  std::vector<std::uint32_t> flips;
  int turns = 0;
  std::string failure;
};

/// A decode loop of three slots whose environment replies at once with two tokens. `on_turn` runs on the loop's thread.
struct loop {
  tests::watched<what_happened> seen;
  std::function<void(loop&, int turns)> on_turn;
  std::function<void(loop&, std::uint64_t group)> on_end; ///< the same
  bool replies = true;
  decode_loop decoding;

  explicit loop(std::function<void(loop&, int)> at_turn = {}, bool answers_turns = true)
      : on_turn(std::move(at_turn)), replies(answers_turns),
        decoding("rollout/0", letters(), {.slots = 3}, events(), interrupt_granularity::turn) {
    decoding.hand_over_weights(tiny(7), 1, flip_time::in_flight);
  }

  decode_loop::events events() {
    decode_loop::events on;
    on.finished = [this](std::uint32_t, const std::vector<std::int32_t>&, rollout::finished_group group) {
      if (on_end)
        on_end(*this, group.group);
      seen.change([&](auto& s) { s.ends.emplace(group.group, std::move(group)); });
    };
    on.interrupted = [this](std::uint32_t, rollout::partial_group so_far, const std::string&) {
      seen.change([&](auto& s) { s.handed.push_back(std::move(so_far)); });
    };
    on.turn_ended = [this](std::uint32_t attempt, const rollout::ended_turn& turn) {
      int turns = 0;
      seen.change([&](auto& s) { turns = ++s.turns; });
      if (on_turn)
        on_turn(*this, turns);
      if (replies)
        decoding.reply(attempt, turn, {.tokens = {3, turn.turn + 5}, .done = turn.turn == last_turn});
    };
    on.flipped = [this](std::uint32_t version) { seen.change([&](auto& s) { s.flips.push_back(version); }); };
    on.failed = [this](const std::string& why) { seen.change([&](auto& s) { s.failure = why; }); };
    return on;
  }

  rollout::finished_group end_of(std::uint64_t group) {
    REQUIRE(seen.wait([&](const auto& s) { return s.ends.contains(group) || !s.failure.empty(); }));
    const auto all = seen.get();
    REQUIRE(all.failure == "");
    return all.ends.at(group);
  }
};

rollout::group_request episodes(std::uint64_t group, std::int32_t answers) {
  auto r = tests::tiny_engine::request(group, answers, 100);
  r.episodes = true;
  r.how.end_tokens = {0, 4, 8, 14, 20}; // a e i o u
  r.how.max_turn_tokens = 8;
  return r;
}

/// The versions of each turn's tokens.
std::vector<std::set<std::uint32_t>> versions_of_turns(const rollout::answer& a) {
  std::vector<std::set<std::uint32_t>> all;
  for (const auto& turn : a.turns)
    all.emplace_back(a.version.begin() + turn.begin, a.version.begin() + turn.end);
  return all;
}

} // namespace

TEST_CASE("cut between turns, new weights wait for the turns that run: each turn is of one version") {
  loop l([](loop& self, int turns) {
    if (turns % 5 == 0)
      self.decoding.hand_over_weights(tiny(7 + turns % 3), 1 + static_cast<std::uint32_t>(turns), flip_time::in_flight);
  });
  l.decoding.submit(episodes(1, 8), 1);
  l.decoding.submit(episodes(2, 4), 1);
  std::size_t mixed = 0;
  for (const std::uint64_t group : {1, 2}) {
    const auto ended = l.end_of(group);
    for (const auto& answer : ended.answers) {
      std::set<std::uint32_t> of_answer;
      for (const auto& of_turn : versions_of_turns(answer)) {
        CHECK(of_turn.size() == 1);
        of_answer.insert(of_turn.begin(), of_turn.end());
      }
      CHECK(answer.turns.size() == last_turn + 1);
      mixed += of_answer.size() > 1;
    }
  }
  CHECK(mixed >= 6); // they flipped between the turns of running episodes
  CHECK(std::ranges::is_sorted(l.seen.get().flips));
}

TEST_CASE(
    "cut between turns, a group that is handed over ends its turns first and goes on elsewhere as it would have") {
  loop whole;
  whole.decoding.submit(episodes(1, 6), 1);
  const auto uninterrupted = whole.end_of(1);
  for (int after = 1; after < 26; after += 4) {
    CAPTURE(after);
    loop first([after](loop& self, int turns) {
      if (turns == after)
        self.decoding.interrupt(1, 1);
    });
    first.decoding.submit(episodes(1, 6), 1);
    REQUIRE(first.seen.wait([](const auto& s) { return !s.handed.empty() || !s.failure.empty(); }));
    CHECK(first.decoding.groups() == 0);
    auto so_far = first.seen.get().handed.at(0);
    for (const auto& answer : so_far.answers) {
      const auto& last = answer.turns.back();
      CHECK((last.end >= 0 || last.begin == std::ssize(answer.tokens))); // no turn is under way
    }
    loop second;
    second.decoding.submit(episodes(1, 6), 2, so_far);
    const auto ended = second.end_of(1);
    for (std::size_t i = 0; i < ended.answers.size(); ++i) {
      CHECK(ended.answers[i].tokens == uninterrupted.answers[i].tokens);
      CHECK(ended.answers[i].logprob == uninterrupted.answers[i].logprob);
    }
  }
}

TEST_CASE("cut between turns, a group whose environment is silent is handed over, and weights flip beside it") {
  loop l({}, false);
  l.decoding.submit(episodes(1, 5), 1);
  REQUIRE(l.seen.wait([](const auto& s) { return s.turns == 5 || !s.failure.empty(); }));
  l.decoding.hand_over_weights(tiny(8), 2, flip_time::in_flight);
  REQUIRE(l.seen.wait([](const auto& s) { return s.flips.size() == 2 || !s.failure.empty(); }));
  l.decoding.interrupt(1, 1);
  REQUIRE(l.seen.wait([](const auto& s) { return !s.handed.empty() || !s.failure.empty(); }));
  const auto handed = l.seen.get().handed.at(0);
  for (const auto& answer : handed.answers)
    CHECK(rollout::waits_for_reply(answer));
}

TEST_CASE("cut between turns, an answer without an environment is one turn: it is of one version") {
  loop l;
  l.on_end = [](loop& self, std::uint64_t group) {
    if (group == 0) { // on the loop's thread: both are there when it looks again
      self.decoding.submit(tests::tiny_engine::request(1, 1, 5), 1);
      self.decoding.submit(tests::tiny_engine::request(2, 7, 30), 1);
    }
    if (group == 1)
      self.decoding.hand_over_weights(tiny(8), 2, flip_time::in_flight);
  };
  l.decoding.submit(tests::tiny_engine::request(0, 1, 1), 1);
  const auto ended = l.end_of(2);
  std::set<std::uint32_t> versions;
  for (const auto& answer : ended.answers) {
    CHECK(std::ranges::count(answer.version, answer.version.front()) == std::ssize(answer.version));
    versions.insert(answer.version.front());
  }
  CHECK(versions == std::set<std::uint32_t>{1, 2});
}

} // namespace decode_loop_turns_test
