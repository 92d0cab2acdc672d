#include "kernels/cached_attention.hpp"
#include "kernels/thread_team.hpp"
#include "tests/kernels/random_floats.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <deque>
#include <random>
#include <utility>

namespace cached_attention_test {

using namespace millrace::kernels;
using millrace::test::instruction_sets_here;
using millrace::test::random_floats;

namespace {

template <class Number>
constexpr storage storage_of = std::is_same_v<Number, float>      ? storage::float32
                               : std::is_same_v<Number, bfloat16> ? storage::bfloat16
                                                                  : storage::int8;

/// What stands where nobody wrote: NaN; in int8, whose scales are floats, bytes of a NaN.
template <class Number>
Number poison() {
  if constexpr (std::is_same_v<Number, float>)
    return NAN;
  else if constexpr (std::is_same_v<Number, bfloat16>)
    return rounded(NAN);
  else
    return -1;
}

/// One sequence's cache with every place that nobody wrote poisoned.
template <class Number>
struct cache {
  std::vector<std::vector<Number>> memory;
  std::vector<void*> blocks;

  cache(std::int64_t tokens, std::int64_t block_numbers) {
    for (std::int64_t t = 0; t < tokens; t += cache_block_tokens)
      memory.emplace_back(static_cast<std::size_t>(block_numbers), poison<Number>());
    for (auto& m : memory)
      blocks.push_back(m.data());
  }
};

struct shape {
  std::int64_t heads, kv_heads, dim, tokens;
};

constexpr shape shapes[] = {{9, 3, 64, 50}, {4, 4, 16, 33}, {14, 2, 64, 16}, {2, 1, 8, 17}, {8, 1, 80, 70}};

/// The places of all tokens of one sequence.
template <class Number>
std::vector<cache_place> places_in(const cache<Number>& store, std::int64_t tokens) {
  std::vector<cache_place> places;
  for (std::int64_t t = 0; t < tokens; ++t)
    places.push_back({store.blocks.data(), t});
  return places;
}

/// Attention in the second layer of a cache.
cached_attention_args second_layer(const shape& of, const std::vector<float>& q, const std::vector<cache_place>& places,
                                   std::vector<float>& y, storage cached_as) {
  return {.q = q.data(),
          .places = places.data(),
          .y = y.data(),
          .rows = static_cast<std::int64_t>(places.size()),
          .heads = of.heads,
          .kv_heads = of.kv_heads,
          .head_dim = of.dim,
          .layer_offset = cache_layer_numbers(of.kv_heads, of.dim, cached_as),
          .cached_as = cached_as};
}

/// Sequences as a rollout has them: some begin with the blocks of one before and go on in their own. All of them are
/// filled with random keys and values, the places behind them with NaN.
template <class Number>
struct sequences {
  shape of;
  std::int64_t layer = cache_layer_numbers(of.kv_heads, of.dim, storage_of<Number>);
  std::deque<std::vector<Number>> memory;
  std::deque<std::vector<void*>> tables;
  std::vector<std::int64_t> lengths;

  sequences(const shape& what, std::int64_t count, std::mt19937& rng) : of(what) {
    thread_team single(1);
    for (std::int64_t s = 0; s < count; ++s) {
      const auto below = [&](std::int64_t most) {
        return static_cast<std::int64_t>(rng() % static_cast<unsigned>(most));
      };
      auto& table = tables.emplace_back();
      std::int64_t shared = 0;
      if (s > 0 && below(3) > 0) {
        const auto from = static_cast<std::size_t>(below(s));
        shared = below(lengths[from] / cache_block_tokens + 1);
        table.assign(tables[from].begin(), tables[from].begin() + shared);
      }
      lengths.push_back(shared * cache_block_tokens + 1 + below(below(2) == 0 ? 20 : of.tokens));
      const std::int64_t blocks = (lengths.back() + cache_block_tokens - 1) / cache_block_tokens;
      while (static_cast<std::int64_t>(table.size()) < blocks) {
        memory.emplace_back(static_cast<std::size_t>(2 * layer), poison<Number>());
        table.push_back(memory.back().data());
      }
      std::vector<cache_place> own;
      for (std::int64_t t = shared * cache_block_tokens; t < lengths.back(); ++t)
        own.push_back({table.data(), t});
      const auto rows = static_cast<std::int64_t>(own.size());
      const auto k = random_floats(rows * of.kv_heads * of.dim, rng()),
                 v = random_floats(rows * of.kv_heads * of.dim, rng());
      append_to_cache(args(nullptr, own, nullptr), k.data(), v.data(), single);
    }
  }

  cached_attention_args args(const float* q, const std::vector<cache_place>& places, float* y) const {
    return {.q = q,
            .places = places.data(),
            .y = y,
            .rows = static_cast<std::int64_t>(places.size()),
            .heads = of.heads,
            .kv_heads = of.kv_heads,
            .head_dim = of.dim,
            .layer_offset = layer,
            .cached_as = storage_of<Number>};
  }

  /// Prompts' rows one after another and answers' last rows, in any order of sequences.
  std::vector<cache_place> some_rows(std::mt19937& rng) const {
    std::vector<cache_place> places;
    for (std::size_t s = 0; s < tables.size(); ++s) {
      const std::size_t who = rng() % tables.size();
      const auto count = rng() % 2 == 0 ? 1 : static_cast<std::int64_t>(rng() % 40);
      for (std::int64_t t = std::max<std::int64_t>(0, lengths[who] - count); t < lengths[who]; ++t)
        places.push_back({tables[who].data(), t});
    }
    if (rng() % 3 == 0)
      std::shuffle(places.begin(), places.end(), rng);
    return places;
  }
};

/// What random calls on random sequences give: each row's bits are those of the row alone on one thread.
template <class Number>
void rows_do_not_depend_on_each_other(const shape& what, unsigned seed) {
  std::mt19937 rng{seed};
  const sequences<Number> all(what, 1 + static_cast<std::int64_t>(rng() % 9), rng);
  const auto places = all.some_rows(rng);
  const std::int64_t row = what.heads * what.dim, numbers = static_cast<std::int64_t>(places.size()) * row;
  const auto q = random_floats(numbers, rng());
  std::vector<float> want(q.size());
  cached_attention_reference(all.args(q.data(), places, want.data()));
  std::vector<std::pair<instruction_set, std::vector<float>>> results;
  for (const auto set : instruction_sets_here()) {
    thread_team single(1, set);
    std::vector<float> alone(q.size());
    for (std::size_t r = 0; r < places.size(); ++r) {
      const std::int64_t at = static_cast<std::int64_t>(r) * row;
      cached_attention(all.args(q.data() + at, {places[r]}, alone.data() + at), single);
    }
    for (const int threads : {1, 2, 5}) {
      CAPTURE(name(set));
      CAPTURE(threads);
      thread_team team(threads, set);
      std::vector<float> together(q.size());
      cached_attention(all.args(q.data(), places, together.data()), team);
      CHECK(together == alone);
    }
    double worst = 0;
    for (std::size_t i = 0; i < want.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(alone[i]) - want[i]));
    CHECK(worst < 5e-6); // means of values near 1
    results.emplace_back(set, std::move(alone));
  }
  for (std::size_t i = 2; i < results.size(); ++i)
    CHECK(results[i].second == results[1].second); // AVX2 and AVX-512 add in the same order
}

} // namespace

TEST_CASE("two tokens with equal scores: the mean of their values; the first token sees only itself") {
  cache<float> store(2, cache_layer_numbers(1, 2));
  const std::vector<float> q{1, 0, 1, 0}, k{1, 0, 1, 0}, v{2, 4, 4, 8};
  const std::vector<cache_place> places{{store.blocks.data(), 0}, {store.blocks.data(), 1}};
  std::vector<float> y(4);
  thread_team team(1);
  const cached_attention_args args{.q = q.data(),
                                   .places = places.data(),
                                   .y = y.data(),
                                   .rows = 2,
                                   .heads = 1,
                                   .kv_heads = 1,
                                   .head_dim = 2,
                                   .layer_offset = 0};
  append_to_cache(args, k.data(), v.data(), team);
  cached_attention(args, team);
  CHECK(y == std::vector<float>{2, 4, 3, 6});
}

TEST_CASE("agrees with the reference for every shape of heads, and bit for bit with a row alone") {
  for (const auto set : instruction_sets_here())
    for (const auto& [heads, kv_heads, dim, tokens] : shapes) {
      thread_team team(2, set), single(1, set);
      const std::int64_t layer = cache_layer_numbers(kv_heads, dim);
      cache<float> store(tokens, 2 * layer);
      const auto q = random_floats(tokens * heads * dim, 1), k = random_floats(tokens * kv_heads * dim, 2),
                 v = random_floats(tokens * kv_heads * dim, 3);
      std::vector<cache_place> places;
      for (std::int64_t t = 0; t < tokens; ++t)
        places.push_back({store.blocks.data(), t});
      std::vector<float> got(q.size()), want(q.size()), alone(static_cast<std::size_t>(heads * dim));
      cached_attention_args args{.q = q.data(),
                                 .places = places.data(),
                                 .y = got.data(),
                                 .rows = tokens,
                                 .heads = heads,
                                 .kv_heads = kv_heads,
                                 .head_dim = dim,
                                 .layer_offset = layer};
      append_to_cache(args, k.data(), v.data(), team);
      cached_attention(args, team);
      args.y = want.data();
      cached_attention_reference(args);
      double worst = 0;
      for (std::size_t i = 0; i < got.size(); ++i)
        worst = std::max(worst, std::abs(static_cast<double>(got[i]) - want[i]));
      CHECK(worst < 5e-6); // means of values near 1
      const std::int64_t last = tokens - 1;
      cached_attention({.q = q.data() + last * heads * dim,
                        .places = &places.back(),
                        .y = alone.data(),
                        .rows = 1,
                        .heads = heads,
                        .kv_heads = kv_heads,
                        .head_dim = dim,
                        .layer_offset = layer},
                       single);
      CHECK(std::equal(alone.begin(), alone.end(), got.end() - heads * dim));
    }
}

TEST_CASE("a bfloat16 cache gives the bits of a float cache of rounded keys and values") {
  for (const auto set : instruction_sets_here())
    for (const shape& of : shapes) {
      const auto& [heads, kv_heads, dim, tokens] = of;
      thread_team team(2, set);
      const std::int64_t layer = cache_layer_numbers(kv_heads, dim);
      cache<float> whole(tokens, 2 * layer);
      cache<bfloat16> half(tokens, 2 * layer);
      const auto q = random_floats(tokens * heads * dim, 1), k = random_floats(tokens * kv_heads * dim, 2),
                 v = random_floats(tokens * kv_heads * dim, 3);
      const auto nearest = [](std::vector<float> x) {
        for (float& one : x)
          one = widened(rounded(one));
        return x;
      };
      const auto in_whole = places_in(whole, tokens), in_half = places_in(half, tokens);
      std::vector<float> want(q.size()), got(q.size());
      const auto exact = second_layer(of, q, in_whole, want, storage::float32);
      append_to_cache(exact, nearest(k).data(), nearest(v).data(), team);
      cached_attention(exact, team);
      const auto narrow = second_layer(of, q, in_half, got, storage::bfloat16);
      append_to_cache(narrow, k.data(), v.data(), team);
      cached_attention(narrow, team);
      CAPTURE(name(set));
      CAPTURE(dim);
      CHECK(got == want);
    }
}

TEST_CASE("an int8 cache: a token's keys and values of a head are whole steps of the largest / 127") {
  constexpr std::int64_t dim = 4, layer = cache_layer_numbers(2, dim, storage::int8);
  CHECK(layer == 2 * 2 * 16 * (4 + 4)); // a byte a number, and a float for each token's keys and values of a head
  cache<std::int8_t> store(1, layer);
  const std::vector<float> q(2 * dim, 0.0f), k{127, 0, -1.4f, -127, 0.25f, -0.5f, 0.1f, 0},
      v{0, 0, 0, 0, 254, 1, 3, -7};
  const cache_place place{store.blocks.data(), 0};
  std::vector<float> y(q.size());
  thread_team team(1);
  const cached_attention_args args{.q = q.data(),
                                   .places = &place,
                                   .y = y.data(),
                                   .rows = 1,
                                   .heads = 2,
                                   .kv_heads = 2,
                                   .head_dim = dim,
                                   .layer_offset = 0,
                                   .cached_as = storage::int8};
  append_to_cache(args, k.data(), v.data(), team);
  const std::vector<std::int8_t>& block = store.memory[0];
  const auto key = [&](std::size_t head, std::size_t d) { return int{block[(head * dim + d) * 16]}; };
  CHECK(std::array{key(0, 0), key(0, 1), key(0, 2), key(0, 3)} == std::array{127, 0, -1, -127});
  CHECK(std::array{key(1, 0), key(1, 1), key(1, 2), key(1, 3)} == std::array{64, -127, 25, 0}); // 63.5: the even one
  const auto scale = [&](std::size_t which) {
    float found = 0;
    std::memcpy(&found, block.data() + 4 * 16 * dim + which * 16 * sizeof(float), sizeof found);
    return found;
  };
  CHECK(std::array{scale(0), scale(1), scale(2), scale(3)} == std::array{1.0f, 0.5f / 127, 0.0f, 2.0f});
  cached_attention(args, team);                              // the one token's values
  CHECK(y == std::vector<float>{0, 0, 0, 0, 254, 0, 4, -8}); // 0.5, 1.5 and 3.5 steps go to the even one
}

TEST_CASE("an int8 cache agrees with the reference, and is near what was not rounded") {
  for (const auto set : instruction_sets_here())
    for (const shape& of : shapes) {
      const auto& [heads, kv_heads, dim, tokens] = of;
      thread_team team(2, set);
      cache<float> whole(tokens, 2 * cache_layer_numbers(kv_heads, dim));
      cache<std::int8_t> narrow(tokens, 2 * cache_layer_numbers(kv_heads, dim, storage::int8));
      const auto q = random_floats(tokens * heads * dim, 1), k = random_floats(tokens * kv_heads * dim, 2),
                 v = random_floats(tokens * kv_heads * dim, 3);
      const auto in_whole = places_in(whole, tokens), in_narrow = places_in(narrow, tokens);
      std::vector<float> exact(q.size()), want(q.size()), got(q.size());
      const auto unrounded = second_layer(of, q, in_whole, exact, storage::float32);
      append_to_cache(unrounded, k.data(), v.data(), team);
      cached_attention_reference(unrounded);
      auto args = second_layer(of, q, in_narrow, got, storage::int8);
      append_to_cache(args, k.data(), v.data(), team);
      cached_attention(args, team);
      args.y = want.data();
      cached_attention_reference(args);
      double worst = 0, moved = 0;
      for (std::size_t i = 0; i < got.size(); ++i) {
        worst = std::max(worst, std::abs(static_cast<double>(got[i]) - want[i]));
        moved = std::max(moved, std::abs(static_cast<double>(want[i]) - exact[i]));
      }
      CAPTURE(name(set));
      CAPTURE(dim);
      CHECK(worst < 5e-6); // means of values near 1
      CHECK(moved < 0.05);
      CHECK(moved > 1e-4);
    }
}

TEST_CASE("an int8 cache keeps what is tiny as 0, and what is not finite as NaN for the rows that see it") {
  constexpr std::int64_t tokens = 3, dim = 8;
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    cache<std::int8_t> store(tokens, cache_layer_numbers(1, dim, storage::int8));
    const std::vector<float> q(tokens * dim, 1.0f), k(tokens * dim, 1e-40f);
    std::vector<float> v(tokens * dim, 2.0f), y(q.size());
    v[2 * dim + 3] = bad;
    const std::vector<cache_place> places{{store.blocks.data(), 0}, {store.blocks.data(), 1}, {store.blocks.data(), 2}};
    const cached_attention_args args{.q = q.data(),
                                     .places = places.data(),
                                     .y = y.data(),
                                     .rows = tokens,
                                     .heads = 1,
                                     .kv_heads = 1,
                                     .head_dim = dim,
                                     .layer_offset = 0,
                                     .cached_as = storage::int8};
    for (const auto set : instruction_sets_here()) {
      thread_team team(1, set);
      append_to_cache(args, k.data(), v.data(), team);
      cached_attention(args, team);
      CHECK(std::all_of(y.begin(), y.begin() + 2 * dim, [](float x) { return x == 2.0f; }));
      CHECK(std::all_of(y.begin() + 2 * dim, y.end(), [](float x) { return std::isnan(x); }));
    }
  }
}

TEST_CASE("a row's bits do not depend on the rows beside it, on what they share, or on threads") {
  constexpr shape long_shapes[] = {{9, 3, 64, 700}, {4, 4, 16, 300}, {7, 1, 80, 260}, {2, 1, 8, 400}, {64, 2, 16, 140}};
  for (unsigned seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    const shape& what = long_shapes[seed % std::size(long_shapes)];
    rows_do_not_depend_on_each_other<float>(what, seed);
    rows_do_not_depend_on_each_other<bfloat16>(what, seed);
    rows_do_not_depend_on_each_other<std::int8_t>(what, seed);
  }
}

TEST_CASE("one long row is shared among threads, with the same bits") {
  std::mt19937 rng{1};
  const sequences<float> all({9, 3, 64, 3000}, 1, rng);
  const std::vector<cache_place> last{{all.tables[0].data(), all.lengths[0] - 1}};
  REQUIRE(all.lengths[0] > 1000);
  const auto q = random_floats(9 * 64, 2);
  std::vector<float> one(q.size()), many(q.size());
  thread_team single(1), team(4);
  cached_attention(all.args(q.data(), last, one.data()), single);
  cached_attention(all.args(q.data(), last, many.data()), team);
  CHECK(many == one);
}

TEST_CASE("a value that is infinite reaches the rows that see it and no earlier one of its prompt") {
  for (const auto set : instruction_sets_here()) {
    thread_team team(1, set);
    constexpr std::int64_t tokens = 30, bad = 20, dim = 16;
    cache<float> store(tokens, cache_layer_numbers(1, dim));
    const auto q = random_floats(tokens * dim, 1), k = random_floats(tokens * dim, 2);
    auto v = random_floats(tokens * dim, 3);
    v[bad * dim] = INFINITY;
    std::vector<cache_place> places;
    for (std::int64_t t = 0; t < tokens; ++t)
      places.push_back({store.blocks.data(), t});
    std::vector<float> y(q.size());
    const cached_attention_args args{.q = q.data(),
                                     .places = places.data(),
                                     .y = y.data(),
                                     .rows = tokens,
                                     .heads = 1,
                                     .kv_heads = 1,
                                     .head_dim = dim,
                                     .layer_offset = 0};
    append_to_cache(args, k.data(), v.data(), team);
    cached_attention(args, team);
    for (std::int64_t t = 0; t < tokens; ++t)
      CHECK(std::isinf(y[static_cast<std::size_t>(t * dim)]) == (t >= bad));
  }
}

TEST_CASE("heads that do not divide are refused") {
  thread_team team(1);
  CHECK_THROWS_AS(cached_attention({.q = nullptr,
                                    .places = nullptr,
                                    .y = nullptr,
                                    .rows = 0,
                                    .heads = 3,
                                    .kv_heads = 2,
                                    .head_dim = 8,
                                    .layer_offset = 0},
                                   team),
                  std::invalid_argument);
}

} // namespace cached_attention_test
