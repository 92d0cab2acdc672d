#include "kernels/cached_attention.hpp"
#include "tests/runtime/rollout/tiny_engine.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <random>

namespace episodes_test {

using namespace millrace;
using namespace millrace::tests::tiny_engine;
using rollout::ended_turn;
using rollout::turn_reply;

namespace {

/// Turns end with a vowel, after 6 tokens at most; an answer has 40 tokens at most.
group_request episode(std::uint64_t group, std::int32_t answers) {
  auto r = request(group, answers, 40);
  r.how.end_tokens = {0, 4, 8, 14, 20}; // a e i o u
  r.how.max_turn_tokens = 6;
  r.episodes = true;
  return r;
}

/// What the environment says is a function of the answer and the turn; after four turns it ends the episode.
turn_reply reply_to(const ended_turn& turn) {
  if (turn.turn == 3)
    return {.reward = 10, .done = true};
  turn_reply reply{.reward = static_cast<float>(turn.turn)};
  for (int i = 0; i < 2 + (turn.answer + turn.turn) % 3; ++i)
    reply.tokens.push_back((turn.answer * 11 + turn.turn * 5 + i * 3) % 40);
  return reply;
}

/// Steps until nothing is left, each reply `late` steps after its turn.
std::map<std::uint64_t, finished_group> play(engine& e, int late = 0) {
  std::map<std::uint64_t, finished_group> all;
  std::deque<std::pair<int, ended_turn>> asked;
  for (int steps = 0; !e.idle(); ++steps) {
    REQUIRE(steps < 5000);
    for (auto& g : e.step())
      all.emplace(g.group, std::move(g));
    for (const auto& turn : e.last_turns())
      asked.emplace_back(steps + late, turn);
    while (!asked.empty() && asked.front().first <= steps) {
      CHECK(e.go_on(asked.front().second.group, asked.front().second.answer, reply_to(asked.front().second)));
      asked.pop_front();
    }
  }
  return all;
}

void check_equal(const std::map<std::uint64_t, finished_group>& a, const std::map<std::uint64_t, finished_group>& b) {
  REQUIRE(a.size() == b.size());
  for (const auto& [id, group] : a) {
    CAPTURE(id);
    check_same(group, b.at(id));
    for (std::size_t i = 0; i < group.answers.size(); ++i)
      CHECK((group.answers[i].turns == b.at(id).answers[i].turns));
  }
}

std::map<std::uint64_t, finished_group> plain() {
  engine e(tiny(), letters(), 1, {.slots = 64});
  for (const std::uint64_t group : {1, 2, 3})
    e.admit(episode(group, 4));
  return play(e);
}

} // namespace

TEST_CASE("episodes: the environment's tokens stand between turns, and greedy turns follow from all before them") {
  auto r = episode(2, 1);
  r.how.temperature = 0;
  engine e(tiny(), letters(), 7, {.slots = 2});
  e.admit(r);
  const auto got = play(e).at(2).answers.at(0);
  REQUIRE(got.turns.size() > 1);
  std::vector<std::int32_t> before = r.prompt;
  std::size_t at = 0;
  for (std::size_t k = 0; k < got.turns.size(); ++k) {
    const auto& turn = got.turns[k];
    REQUIRE(turn.begin == static_cast<std::int32_t>(at));
    // One turn alone: an ordinary answer to everything before it.
    group_request alone{.group = 1, .prompt = before, .answers = 1, .how = r.how};
    alone.how.max_new_tokens = std::min<std::int64_t>(6, 40 - static_cast<std::int64_t>(at));
    engine one(tiny(), letters(), 7, {.slots = 1});
    one.admit(alone);
    const auto want = finish(one).at(1).answers.at(0);
    const auto end = static_cast<std::size_t>(turn.end);
    CHECK(want.tokens == std::vector(got.tokens.begin() + turn.begin, got.tokens.begin() + turn.end));
    CHECK(want.logprob == std::vector(got.logprob.begin() + turn.begin, got.logprob.begin() + turn.end));
    if (k + 1 == got.turns.size()) {
      CHECK(got.text == want.text);
      at = end;
      break;
    }
    const auto said = reply_to({.answer = 0, .turn = static_cast<std::int32_t>(k)});
    CHECK(turn.reward == said.reward);
    CHECK(said.tokens == std::vector(got.tokens.begin() + turn.end, got.tokens.begin() + got.turns[k + 1].begin));
    for (std::size_t t = end; t < end + said.tokens.size(); ++t) {
      CHECK(got.logprob[t] == 0);
      CHECK(got.version[t] == 7);
    }
    before.insert(before.end(), got.tokens.begin() + turn.begin, got.tokens.begin() + got.turns[k + 1].begin);
    at = end + said.tokens.size();
  }
  CHECK(at == got.tokens.size());
  std::int64_t sampled = 0;
  for (const auto& turn : got.turns)
    sampled += turn.end - turn.begin;
  CHECK(sampled_tokens(got) == sampled);
}

TEST_CASE("episodes: a segment is a prompt of its own: greedy turns behind it follow from it alone") {
  auto r = episode(2, 1);
  r.how.temperature = 0;
  r.how.max_new_tokens = 60;
  const auto reply = [](const ended_turn& turn) {
    auto said = reply_to({.answer = 3, .turn = turn.turn});
    said.new_segment = turn.turn == 0 || turn.turn == 2;
    said.done = turn.turn == 4;
    said.tokens.push_back(static_cast<std::int32_t>(turn.turn + 30));
    return said;
  };
  engine e(tiny(), letters(), 7, {.slots = 2});
  e.admit(r);
  std::map<std::uint64_t, finished_group> done;
  for (int steps = 0; !e.idle(); ++steps) {
    REQUIRE(steps < 500);
    for (auto& g : e.step())
      done.emplace(g.group, std::move(g));
    for (const auto& turn : e.last_turns())
      CHECK(e.go_on(turn.group, turn.answer, reply(turn)));
  }
  const auto got = done.at(2).answers.at(0);
  REQUIRE(got.turns.size() == 5);
  CHECK(segment_begins(got) == std::vector{got.turns[0].end, got.turns[2].end});
  CHECK(last_segment(got) == got.turns[2].end);
  for (std::size_t k = 1; k < got.turns.size(); ++k) {
    CAPTURE(k);
    const auto& turn = got.turns[k];
    CHECK(turn.new_segment == (k == 1 || k == 3));
    const auto begin = k < 3 ? got.turns[0].end : got.turns[2].end;
    group_request alone{.group = 1,
                        .prompt = {got.tokens.begin() + begin, got.tokens.begin() + turn.begin},
                        .answers = 1,
                        .how = r.how};
    alone.how.max_new_tokens = 6;
    engine one(tiny(), letters(), 7, {.slots = 1});
    one.admit(alone);
    const auto want = finish(one).at(1).answers.at(0);
    CHECK(want.tokens == std::vector(got.tokens.begin() + turn.begin, got.tokens.begin() + turn.end));
    CHECK(want.logprob == std::vector(got.logprob.begin() + turn.begin, got.logprob.begin() + turn.end));
  }
}

TEST_CASE("episodes: a segment may fill the context anew; more than it has ends the answer") {
  auto r = episode(2, 1); // a prompt of 17 tokens
  r.how.max_new_tokens = 100;
  for (const std::int32_t said : {20, 29, 30}) {
    CAPTURE(said);
    engine e(tiny(), letters(), 7, {.slots = 1, .max_context = 30});
    e.admit(r);
    while (e.last_turns().empty())
      e.step();
    const auto turn = e.last_turns().front();
    CHECK(turn.read == 17);
    CHECK(turn.written == std::ssize(turn.text) + (turn.finish == finish_reason::stop));
    CHECK(turn.room_of_segment == 30);
    turn_reply reply{.tokens = std::vector<std::int32_t>(static_cast<std::size_t>(said), 3), .new_segment = true};
    REQUIRE(e.go_on(2, 0, reply));
    std::vector<finished_group> done;
    for (int steps = 0; done.empty() && e.last_turns().size() <= 1; ++steps) {
      REQUIRE(steps < 50);
      done = e.step();
      if (!e.last_turns().empty())
        break;
    }
    if (said == 30) {
      REQUIRE(!done.empty());
      CHECK(done[0].answers[0].finish == finish_reason::length);
      CHECK(done[0].answers[0].turns.size() == 1);
      continue;
    }
    REQUIRE(!e.last_turns().empty());
    CHECK(e.last_turns()[0].turn == 1);
    CHECK(e.last_turns()[0].read == said);
    CHECK((e.last_turns()[0].room == 0) == (said == 29)); // no token fits behind the one that was drawn
  }
  engine e(tiny(), letters(), 7, {.slots = 1});
  e.admit(r);
  while (e.last_turns().empty())
    e.step();
  CHECK_THROWS_WITH_AS(e.go_on(2, 0, {.new_segment = true}),
                       "rollout::engine: a segment of no tokens, want at least one", std::invalid_argument);
}

TEST_CASE("episodes: the same bits whatever the slots, the prefill, the cache and the environment's time") {
  const auto want = plain();
  for (const auto& g : want)
    for (const auto& a : g.second.answers)
      CHECK(!a.turns.empty());
  const std::int64_t small = 4 * model::kv_pool::make(tests::tiny_config("llama"), at::kCPU)->bytes_per_block();
  for (const auto& options : {engine_options{.slots = 1}, engine_options{.slots = 3, .prefill_rows = 3},
                              engine_options{.slots = 64, .threads = 2},
                              engine_options{.slots = 8, .max_context = 96, .cache_bytes = 2 * small}})
    for (const int late : {0, 1, 17}) {
      CAPTURE(options.slots);
      CAPTURE(late);
      engine e(tiny(), letters(), 1, options);
      for (const std::uint64_t group : {1, 2, 3})
        e.admit(episode(group, 4));
      check_equal(want, play(e, late));
    }
}

TEST_CASE("episodes: an answer that waits for its environment has no slot, and the engine says when all do") {
  engine e(tiny(), letters(), 1, {.slots = 1});
  e.admit(episode(1, 2));
  CHECK(!e.waits());
  std::vector<ended_turn> away;
  for (int steps = 0; !e.waits(); ++steps) {
    REQUIRE(steps < 100);
    e.step();
    away.insert(away.end(), e.last_turns().begin(), e.last_turns().end());
  }
  CHECK(away.size() == 2); // both answers had the one slot, one after the other
  CHECK(!e.idle());
  CHECK(e.free_slots() == 1);
  CHECK(e.step().empty());
  CHECK(e.go_on(1, away[1].answer, reply_to(away[1])));
  CHECK(!e.waits());
  CHECK(!e.go_on(1, away[1].answer, reply_to(away[1]))); // it has been told
  CHECK(!e.go_on(2, 0, {}));                             // no such group
  CHECK_THROWS_WITH(e.go_on(1, away[0].answer, {.tokens = {40}}), "rollout::engine: token 40, want one in [0, 40)");
}

TEST_CASE("episodes: what does not fit ends the answer, and an episode that is done ends where it stands") {
  auto r = episode(1, 1);
  engine e(tiny(), letters(), 1, {.slots = 1});
  e.admit(r);
  while (e.last_turns().empty())
    e.step();
  SUBCASE("a reply as long as the answer may be") {
    const auto tokens = std::vector<std::int32_t>(static_cast<std::size_t>(r.how.max_new_tokens), 1);
    CHECK(e.go_on(1, 0, {.tokens = tokens, .reward = 3}));
    const auto done = finish(e).at(1).answers.at(0);
    CHECK(done.finish == finish_reason::length);
    CHECK(done.turns.size() == 1);
    CHECK(done.turns[0].reward == 3);
    CHECK(done.tokens.size() == static_cast<std::size_t>(done.turns[0].end));
  }
  SUBCASE("done") {
    CHECK(e.go_on(1, 0, {.tokens = {1, 2}, .reward = 4, .done = true}));
    const auto done = finish(e).at(1).answers.at(0);
    CHECK(done.turns.size() == 1);
    CHECK(done.turns[0].reward == 4);
    CHECK(done.tokens.size() == static_cast<std::size_t>(done.turns[0].end));
  }
}

TEST_CASE("episodes: a turn that fills the answer is told like any other, and says that no room is left") {
  auto r = episode(1, 1);
  r.how.end_tokens.clear();
  r.how.max_new_tokens = 10; // turns of 6 and 3 tokens, and one token between them
  engine e(tiny(), letters(), 1, {.slots = 1});
  e.admit(r);
  while (e.last_turns().empty())
    e.step();
  CHECK(e.last_turns().front().room == 4);
  REQUIRE(e.go_on(1, 0, {.tokens = {1}, .reward = 1}));
  e.step();
  while (e.last_turns().empty())
    e.step();
  const auto full = e.last_turns().front();
  CHECK(full.room == 0);
  CHECK(full.finish == finish_reason::length);
  CHECK(e.waits());
  bool done = false;
  SUBCASE("the environment says that it is done") {
    done = true;
  }
  SUBCASE("it does not") {
  }
  REQUIRE(e.go_on(1, 0, {.tokens = {2, 3}, .reward = 5, .done = done}));
  const auto ended = finish(e).at(1).answers.at(0);
  CHECK(ended.tokens.size() == 10);
  CHECK(ended.finish == finish_reason::length);
  REQUIRE(ended.turns.size() == 2);
  CHECK(ended.turns[1].reward == 5);
}

TEST_CASE("episodes: handed over at any moment, they go on elsewhere with the same bits") {
  const auto want = plain();
  std::mt19937_64 random(5);
  for (int trial = 0; trial < 30; ++trial) {
    CAPTURE(trial);
    std::optional<partial_group> so_far;
    std::map<std::uint64_t, finished_group> all;
    for (int lives = 0; all.empty(); ++lives) {
      REQUIRE(lives < 200);
      engine e(tiny(), letters(), 1, {.slots = static_cast<std::int32_t>(1 + random() % 4)});
      e.admit(episode(2, 4), so_far);
      for (auto left = 1 + random() % 12; left > 0 && !e.idle(); --left) {
        for (auto& g : e.step())
          all.emplace(g.group, std::move(g));
        for (const auto& turn : e.last_turns())
          if (random() % 2 == 0)
            e.go_on(turn.group, turn.answer, reply_to(turn));
      }
      so_far = e.interrupt(2);
    }
    check_equal({{2, want.at(2)}}, all);
  }
}

TEST_CASE("episodes: what nobody had read when an answer was handed over is stamped with the version that reads it") {
  engine first(tiny(7), letters(), 1, {.slots = 2});
  first.admit(episode(1, 2));
  while (first.last_turns().empty())
    first.step();
  const auto turn = first.last_turns().front();
  REQUIRE(first.go_on(1, turn.answer, {.tokens = {1, 2, 3}}));
  const auto so_far = first.interrupt(1).value();
  const auto said = so_far.answers[static_cast<std::size_t>(turn.answer)].tokens.size() - 3;
  // The second engine flips once more before the answer has a slot there.
  for (const std::uint32_t flips_to : {0u, 3u}) {
    engine second(tiny(8), letters(), 2, {.slots = 1});
    second.admit(request(5, 1, 4));
    second.step();
    second.admit(episode(1, 2), so_far);
    if (flips_to > 0)
      second.hand_over_weights(tiny(9), flips_to);
    const auto all = play(second);
    const auto& answer = all.at(1).answers[static_cast<std::size_t>(turn.answer)];
    for (auto t = said; t < said + 4; ++t)
      CHECK(answer.version[t] == (flips_to > 0 ? flips_to : 2));
    CHECK(answer.version[said - 1] == 1);
  }
}

TEST_CASE("episodes: log-probabilities of every turn are those of the version that is stamped") {
  const auto before = tiny(7), after = tiny(8);
  for (const auto cache : {kv_on_flip::keep, kv_on_flip::recompute}) {
    engine e(before, letters(), 1, {.slots = 2});
    auto r = episode(3, 3);
    e.admit(r);
    std::map<std::uint64_t, finished_group> all;
    std::vector<ended_turn> away;
    for (int steps = 0; !e.idle(); ++steps) {
      REQUIRE(steps < 1000);
      if (steps == 9)
        e.hand_over_weights(after, 2, cache);
      for (auto& g : e.step())
        all.emplace(g.group, std::move(g));
      away.insert(away.end(), e.last_turns().begin(), e.last_turns().end());
      if (steps % 4 == 0)
        for (const auto& turn : std::exchange(away, {}))
          e.go_on(turn.group, turn.answer, reply_to(turn));
    }
    int flipped = 0;
    for (const auto& a : all.at(3).answers) {
      const auto old = scores(*before, r, a), fresh = scores(*after, r, a);
      const auto flip = static_cast<std::size_t>(std::find(a.version.begin(), a.version.end(), 2u) - a.version.begin());
      flipped += flip > 0 && flip < a.tokens.size();
      const auto mixed = cache == kv_on_flip::keep ? scores_as_stamped({{1, before}, {2, after}}, r, a) : fresh;
      for (const auto& turn : a.turns)
        for (auto t = static_cast<std::size_t>(turn.begin); t < static_cast<std::size_t>(turn.end); ++t)
          CHECK(std::abs(a.logprob[t] - (t < flip ? old : mixed)[t]) < 1e-4);
    }
    CHECK(flipped > 0);
  }
}

} // namespace episodes_test
