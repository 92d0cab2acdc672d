#include "kernels/cached_attention.hpp"
#include "kernels/thread_team.hpp"
#include "tests/kernels/random_floats.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

namespace cached_attention_test {

using namespace millrace::kernels;
using millrace::test::instruction_sets_here;
using millrace::test::random_floats;

namespace {

/// One sequence's cache with every place that nobody wrote poisoned.
template <class Number>
struct cache {
  std::vector<std::vector<Number>> memory;
  std::vector<void*> blocks;

  cache(std::int64_t tokens, std::int64_t block_numbers) {
    for (std::int64_t t = 0; t < tokens; t += cache_block_tokens)
      if constexpr (std::is_same_v<Number, float>)
        memory.emplace_back(static_cast<std::size_t>(block_numbers), NAN);
      else
        memory.emplace_back(static_cast<std::size_t>(block_numbers), rounded(NAN));
    for (auto& m : memory)
      blocks.push_back(m.data());
  }
};

struct shape {
  std::int64_t heads, kv_heads, dim, tokens;
};

constexpr shape shapes[] = {{9, 3, 64, 50}, {4, 4, 16, 33}, {14, 2, 64, 16}, {2, 1, 8, 17}, {8, 1, 80, 70}};

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
    for (const auto& [heads, kv_heads, dim, tokens] : shapes) {
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
      std::vector<cache_place> in_whole, in_half;
      for (std::int64_t t = 0; t < tokens; ++t) {
        in_whole.push_back({whole.blocks.data(), t});
        in_half.push_back({half.blocks.data(), t});
      }
      std::vector<float> want(q.size()), got(q.size());
      cached_attention_args args{.q = q.data(),
                                 .places = in_whole.data(),
                                 .y = want.data(),
                                 .rows = tokens,
                                 .heads = heads,
                                 .kv_heads = kv_heads,
                                 .head_dim = dim,
                                 .layer_offset = layer};
      append_to_cache(args, nearest(k).data(), nearest(v).data(), team);
      cached_attention(args, team);
      args.places = in_half.data();
      args.y = got.data();
      args.cached_as = storage::bfloat16;
      append_to_cache(args, k.data(), v.data(), team);
      cached_attention(args, team);
      CAPTURE(name(set));
      CAPTURE(dim);
      CHECK(got == want);
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
