#include "kernels/cached_attention.hpp"
#include "tests/runtime/rollout/tiny_engine.hpp"

#include <doctest/doctest.h>

#include <random>

namespace shared_prefixes_test {

using namespace millrace;
using namespace millrace::tests::tiny_engine;

namespace {

constexpr std::int64_t block = kernels::cache_block_tokens;

group_request asked(std::uint64_t group, std::vector<std::int32_t> prompt, std::int32_t answers = 1,
                    std::int64_t max_new_tokens = 8) {
  group_request r{.group = group, .prompt = std::move(prompt), .answers = answers, .seed = 1000 + group, .how = {}};
  r.how.max_new_tokens = max_new_tokens;
  return r;
}

/// Tokens of one beginning, and `more` of the group's own.
std::vector<std::int32_t> prompt_of(std::int64_t common, std::int64_t more, std::int32_t own) {
  std::vector<std::int32_t> made;
  for (std::int64_t i = 0; i < common + more; ++i)
    made.push_back(static_cast<std::int32_t>((i * 7 + (i < common ? 0 : own + 1)) % 40));
  return made;
}

std::vector<std::int32_t> with_answer(const group_request& r, const answer& a) {
  auto tokens = r.prompt;
  tokens.insert(tokens.end(), a.tokens.begin(), a.tokens.end());
  return tokens;
}

struct counted {
  std::map<std::uint64_t, finished_group> groups;
  std::int64_t computed = 0, found = 0;
};

counted finish_counting(engine& e) {
  counted all;
  while (!e.idle()) {
    for (auto& g : e.step())
      all.groups.emplace(g.group, std::move(g));
    all.computed += e.last_step().prompt_tokens;
    all.found += e.last_step().found_tokens;
  }
  return all;
}

finished_group alone(const group_request& r) {
  engine e(tiny(), nullptr, 1, {.slots = 8, .prefix_cache = false});
  e.admit(r);
  return finish(e).at(r.group);
}

} // namespace

TEST_CASE("a prompt that begins as one before it computes only what is behind their common blocks") {
  engine e(tiny(), nullptr, 1, {.slots = 4});
  e.admit(asked(1, prompt_of(40, 3, 1), 2));
  CHECK(finish_counting(e).computed == 43);
  const auto next = asked(2, prompt_of(40, 5, 2), 2);
  e.admit(next);
  const auto second = finish_counting(e);
  CHECK(second.found == 2 * block);
  CHECK(second.computed == 45 - 2 * block);
  CHECK(second.groups.at(2).prompt_tokens_found == 2 * block);
  CHECK(second.groups.at(2).prompt_tokens_computed == 45 - 2 * block);
  check_same(second.groups.at(2), alone(next));
  const auto again = asked(3, prompt_of(32, 0, 0)); // its last token is computed whatever is here
  e.admit(again);
  const auto third = finish_counting(e);
  CHECK(third.found == block);
  CHECK(third.computed == block);
  check_same(third.groups.at(3), alone(again));
}

TEST_CASE("an episode's next turn computes what is behind its earlier turns, its answers among them") {
  engine e(tiny(), nullptr, 1, {.slots = 4});
  auto turn = asked(1, prompt_of(10, 0, 0), 1, 14);
  e.admit(turn);
  auto said = finish_counting(e).groups.at(1);
  for (std::uint64_t next = 2; next <= 3; ++next) {
    auto tokens = with_answer(turn, said.answers[0]);
    const auto before = std::ssize(tokens) - 1; // the last token drawn was not fed
    tokens.insert(tokens.end(), {3, 4});
    turn = asked(next, tokens, 1, 14);
    e.admit(turn);
    auto all = finish_counting(e);
    CHECK(all.found == before / block * block);
    CHECK(all.computed == std::ssize(tokens) - all.found);
    said = all.groups.at(next);
    check_same(said, alone(turn));
  }
}

TEST_CASE("prompts that come together compute their common beginning once, however it is cut into steps") {
  for (const std::int64_t rows : {7, 16, 20, 512}) {
    CAPTURE(rows);
    engine e(tiny(), nullptr, 1, {.slots = 8, .prefill_rows = rows});
    std::vector<group_request> requests;
    for (std::uint64_t group = 1; group <= 4; ++group) {
      requests.push_back(asked(group, prompt_of(35, 4, static_cast<std::int32_t>(group)), 2));
      e.admit(requests.back());
    }
    const auto all = finish_counting(e);
    CHECK(all.computed == 39 + 3 * (39 - 2 * block));
    CHECK(all.found == 3 * 2 * block);
    for (const auto& r : requests)
      check_same(all.groups.at(r.group), alone(r));
  }
}

TEST_CASE("other weights find nothing of those before them, and nothing that both have computed") {
  for (const auto cache : {kv_on_flip::keep, kv_on_flip::recompute}) {
    engine e(tiny(), nullptr, 1, {.slots = 4});
    const auto first = asked(1, prompt_of(20, 0, 0), 1, 30);
    e.admit(first);
    for (int i = 0; i < 14; ++i)
      e.step();
    e.hand_over_weights(tiny(8), 2, cache);
    const auto group = finish_counting(e).groups.at(1);
    CHECK(group.answers[0].version.front() == 1);
    CHECK(group.answers[0].version.back() == 2);
    auto next = asked(2, with_answer(first, group.answers[0]));
    e.admit(next);
    const auto all = finish_counting(e);
    // What was computed anew is the new version's alone.
    CHECK(all.found == (cache == kv_on_flip::keep ? 0 : (std::ssize(next.prompt) - 1) / block * block));
    engine fresh(tiny(8), nullptr, 2, {.slots = 4, .prefix_cache = false});
    fresh.admit(next);
    check_same(all.groups.at(2), finish(fresh).at(2));
  }
}

TEST_CASE("an answer that was put back computes only what has gone meanwhile") {
  const auto smallest = 5 * model::kv_pool::make(tests::tiny_config("llama"))->bytes_per_block();
  std::int64_t computed[2] = {0, 0};
  for (const bool on : {false, true}) {
    engine e(tiny(), nullptr, 1, {.slots = 8, .max_context = 64, .cache_bytes = 2 * smallest, .prefix_cache = on});
    const auto r = asked(1, prompt_of(20, 0, 0), 8, 40);
    e.admit(r);
    const auto all = finish_counting(e);
    check_same(all.groups.at(1), alone(r));
    computed[on ? 1 : 0] = all.computed;
    CHECK((all.found > 0) == on);
  }
  CHECK(computed[1] < computed[0]);
}

TEST_CASE("without a bound, what is kept takes at most a quarter more; switched off, nothing is kept") {
  std::int64_t bytes[2] = {0, 0};
  for (const bool on : {false, true}) {
    engine e(tiny(), nullptr, 1, {.slots = 4, .prefix_cache = on});
    for (std::uint64_t group = 1; group <= 40; ++group) {
      e.admit(asked(group, prompt_of(0, 30, static_cast<std::int32_t>(group)), 2, 30));
      e.step();
    }
    CHECK(finish_counting(e).found == 0);
    bytes[on ? 1 : 0] = e.cache_bytes();
    e.admit(asked(41, prompt_of(0, 30, 40)));
    CHECK(finish_counting(e).found == (on ? block : 0));
  }
  CHECK(4 * bytes[1] <= 5 * bytes[0]);
}

TEST_CASE("whatever comes, goes and is bounded: the same bits with prefixes shared as without") {
  std::mt19937_64 random(11);
  std::int64_t found = 0;
  const auto pool = model::kv_pool::make(tests::tiny_config("llama"));
  for (int trial = 0; trial < 60; ++trial) {
    CAPTURE(trial);
    std::vector<group_request> requests;
    for (std::uint64_t group = 1; group <= 2 + random() % 7; ++group)
      requests.push_back(
          asked(group,
                prompt_of(static_cast<std::int64_t>(16 * (random() % 3)), static_cast<std::int64_t>(1 + random() % 9),
                          static_cast<std::int32_t>(random() % 3)),
                static_cast<std::int32_t>(1 + random() % 4), static_cast<std::int64_t>(1 + random() % 20)));
    const std::int64_t bound =
        random() % 3 == 0 ? 0 : static_cast<std::int64_t>(5 + random() % 8) * pool->bytes_per_block();
    engine e(tiny(), nullptr, 1,
             {.slots = static_cast<std::int32_t>(1 + random() % 8),
              .max_context = 64,
              .prefill_rows = static_cast<std::int64_t>(1 + random() % 40),
              .cache_bytes = bound});
    std::map<std::uint64_t, finished_group> got;
    std::size_t admitted = 0;
    while (admitted < requests.size() || !e.idle()) {
      if (admitted < requests.size() && random() % 4 == 0)
        e.admit(requests[admitted++]);
      if (const auto group = 1 + random() % requests.size(); random() % 16 == 0)
        if (auto so_far = e.interrupt(group))
          e.admit(requests[group - 1], std::move(so_far));
      for (auto& g : e.step())
        got.emplace(g.group, std::move(g));
      found += e.last_step().found_tokens;
      REQUIRE((bound == 0 || e.cache_bytes() <= bound));
    }
    for (const auto& r : requests)
      check_same(got.at(r.group), alone(r));
  }
  CHECK(found > 1000);
}

} // namespace shared_prefixes_test
