#include "kernels/cached_attention.hpp"
#include "runtime/rollout/cache_room.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/rollout/tiny_engine.hpp"

#include <doctest/doctest.h>

#include <random>

namespace cache_room_test {

using namespace millrace;
using namespace millrace::tests::tiny_engine;

namespace {

constexpr std::int64_t context = 64;

/// The smallest cache that is taken: one answer of the context, and a second copy of the prompt's last block.
std::int64_t smallest(sampling_precision cached = sampling_precision::float32) {
  const std::int64_t blocks = (context + kernels::cache_block_tokens - 1) / kernels::cache_block_tokens + 1;
  return blocks * model::kv_pool::make(tests::tiny_config("llama"), at::kCPU, cached)->bytes_per_block();
}

std::map<std::uint64_t, finished_group> unbounded(const std::vector<group_request>& requests,
                                                  sampling_precision cached = sampling_precision::float32) {
  engine e(tiny(), nullptr, 1, {.slots = 64, .max_context = context, .cached = cached});
  for (const auto& r : requests)
    e.admit(r);
  return finish(e);
}

} // namespace

TEST_CASE("a bounded cache gives the same bits, never holds more, and makes answers wait") {
  std::mt19937_64 random(3);
  int waited = 0;
  for (int trial = 0; trial < 40; ++trial) {
    CAPTURE(trial);
    std::vector<group_request> requests;
    for (std::uint64_t group = 1; group <= 1 + random() % 5; ++group)
      requests.push_back(
          request(group, static_cast<std::int32_t>(1 + random() % 6), static_cast<std::int64_t>(1 + random() % 30)));
    const auto cached = static_cast<sampling_precision>(trial % 3);
    const auto want = unbounded(requests, cached);
    const std::int64_t bound =
        smallest(cached) + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(2 * smallest(cached)));
    engine e(tiny(), nullptr, 1,
             {.slots = static_cast<std::int32_t>(1 + random() % 16),
              .max_context = context,
              .prefill_rows = static_cast<std::int64_t>(1 + random() % 40),
              .cache_bytes = bound,
              .cached = cached});
    std::map<std::uint64_t, finished_group> got;
    std::size_t admitted = 0;
    for (int steps = 0; admitted < requests.size() || !e.idle(); ++steps) {
      REQUIRE(steps < 20000);
      if (admitted < requests.size() && random() % 3 == 0)
        e.admit(requests[admitted++]);
      for (auto& g : e.step())
        got.emplace(g.group, std::move(g));
      REQUIRE(e.cache_bytes() <= bound);
      REQUIRE((e.idle() || e.last_step().parked < std::max(e.last_step().occupied, 1)));
      waited += e.last_step().parked > 0;
    }
    REQUIRE(got.size() == want.size());
    for (const auto& [group, answers] : want)
      check_same(got.at(group), answers);
  }
  CHECK(waited > 100);
}

TEST_CASE("an answer that was put back says where its keys and values were computed again") {
  engine e(tiny(), nullptr, 1, {.slots = 8, .max_context = context, .cache_bytes = smallest()});
  e.admit(request(1, 8, 30));
  const auto group = finish(e).at(1);
  std::size_t put_back = 0;
  for (const auto& answer : group.answers)
    put_back += answer.recomputed.size();
  CHECK(put_back > 0);
}

TEST_CASE("answers that wait for room are stopped, handed over and dropped as others are") {
  engine e(tiny(), nullptr, 1, {.slots = 8, .max_context = context, .cache_bytes = smallest()});
  e.admit(request(1, 4, 30));
  e.admit(request(2, 4, 30));
  while (e.last_step().parked == 0)
    e.step();
  auto so_far = e.interrupt(2);
  REQUIRE(so_far.has_value());
  CHECK(e.cancel(1));
  CHECK(e.idle());
  CHECK(e.free_slots() == 8);
  e.admit(request(2, 4, 30), std::move(so_far));
  check_same(finish(e).at(2), unbounded({request(2, 4, 30)}).at(2));
}

TEST_CASE("new weights come to answers that wait for room too") {
  engine e(tiny(), nullptr, 1, {.slots = 8, .max_context = context, .cache_bytes = smallest()});
  e.admit(request(1, 6, 30));
  for (int i = 0; i < 4; ++i)
    e.step();
  e.hand_over_weights(tiny(8), 2);
  const auto group = finish(e).at(1);
  for (const auto& answer : group.answers)
    CHECK(answer.version.back() == 2);
}

TEST_CASE("a cache without room for one answer of the context is refused with the size that would do") {
  const auto refusal = [](std::int64_t bytes) -> std::string {
    try {
      engine(tiny(), nullptr, 1, {.max_context = context, .cache_bytes = bytes});
    } catch (const input_error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refusal(smallest()) == "");
  CHECK(refusal(smallest() - 1)
        == "cache_bytes: " + std::to_string(smallest() - 1) + ", want at least " + std::to_string(smallest())
               + ": one answer of 64 tokens, prompt and all");
}

TEST_CASE("a cache in bfloat16 needs half the bytes for as many tokens") {
  const engine_options options{
      .max_context = context, .cache_bytes = smallest() / 2, .cached = sampling_precision::bfloat16};
  CHECK(engine(tiny(), nullptr, 1, options).cache_bytes() == 0);
  auto whole = options;
  whole.cached = sampling_precision::float32;
  CHECK_THROWS_AS(engine(tiny(), nullptr, 1, whole), input_error);
}

TEST_CASE("the smallest cache holds an answer that kept its keys over a flip, whoever computes its prompt anew") {
  for (int flip = 1; flip < 45; ++flip) {
    CAPTURE(flip);
    engine e(
        tiny(), nullptr, 1,
        {.slots = 2, .max_context = context, .prefill_rows = 10, .cache_bytes = smallest(), .prefix_cache = false});
    for (std::uint64_t group : {1, 2}) {
      auto r = request(group, static_cast<std::int32_t>(group), 22);
      r.prompt.assign(group == 1 ? 17 : 31, static_cast<std::int32_t>(group));
      e.admit(r);
    }
    for (int step = 0; step < flip; ++step)
      e.step();
    e.hand_over_weights(tiny(8), 2, kv_on_flip::keep);
    const auto all = finish(e);
    REQUIRE(all.contains(2)); // the other may have ended before
    CHECK(all.at(2).answers[1].tokens.size() == 22);
  }
}

} // namespace cache_room_test
