#pragma once

#include "kernels/cached_attention.hpp"
#include "kernels/softmax_row.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace millrace::kernels {

/// Tokens whose scores are kept at once. A chunk begins at a multiple of it, whoever looks at it: its softmax and its
/// sums are taken by themselves and joined in the chunks' order, so that no bit depends on who shares the work.
constexpr std::int64_t chunk_tokens = 128;
constexpr std::int64_t chunk_blocks = chunk_tokens / cache_block_tokens;

constexpr float unseen = -std::numeric_limits<float>::infinity();

/// The keys or the values of one kv head in the blocks of a chunk.
template <class Number>
struct head_chunk {
  const Number* numbers[chunk_blocks]; ///< keys [head_dim, cache_block_tokens] or values [cache_block_tokens, head_dim]
  const Number* next[chunk_blocks]; ///< what is read after them: fetched meanwhile. Each as far off where keys are read
  const float* scales[chunk_blocks]; ///< [cache_block_tokens] of them, where the cache is int8
  std::int64_t head_dim;
};

/// Query heads that go through keys and values together, and the registers that their sums have: the rest of 32 or 16
/// registers holds keys or values and a query's number.
template <int width>
constexpr int most_queries = width >= 8 ? 6 : 3;
template <int width>
constexpr int sum_registers = width == 16 ? 24 : 12;

/// Vectors of sums that each of so many queries gets, a power of two.
template <int width, int queries>
constexpr int vectors_a_query = static_cast<int>(std::bit_floor(unsigned{sum_registers<width> / queries}));

/// body(count as a constant) for a count in [1, most].
template <int most, class Body>
MILLRACE_INLINE void with_count(std::int64_t count, const Body& body) {
  if (count == most)
    body(std::integral_constant<int, most>{});
  else if constexpr (most > 1)
    with_count<most - 1>(count, body);
}

/// body(first, count as a constant) for `queries` queries, as evenly as most_queries allows.
template <int width, class Body>
MILLRACE_INLINE void for_queries(std::int64_t queries, const Body& body) {
  const std::int64_t parts = (queries + most_queries<width> - 1) / most_queries<width>;
  for (std::int64_t p = 0; p < parts; ++p) {
    const std::int64_t first = queries * p / parts, last = queries * (p + 1) / parts;
    with_count<most_queries<width>>(
        last - first, [&](auto count) __attribute__((always_inline)) { body(first, count); });
  }
}

/// scores[g, t] of a run of `at_once` blocks of keys: one chain over head_dim for each query and token.
/// @param q [head_dim, q_stride], scaled   @param scores [queries, chunk_tokens]
template <int width, int queries, int at_once, class Number>
MILLRACE_INLINE void score_blocks(const head_chunk<Number>& h, std::int64_t block, const float* q,
                                  std::int64_t q_stride, float* scores) {
  using V = vector<width>;
  constexpr int of_block = cache_block_tokens / width;
  V sums[queries][at_once][of_block] = {};
  const Number* keys[at_once];
#pragma GCC unroll 4
  for (int b = 0; b < at_once; ++b)
    keys[b] = h.numbers[block + b];
  const std::ptrdiff_t to_next = h.next[block] - keys[0]; // one number, not as many pointers as there are blocks
  for (std::int64_t d = 0; d < h.head_dim; ++d, q += q_stride) {
    V key[at_once][of_block];
#pragma GCC unroll 4
    for (int b = 0; b < at_once; ++b) {
      __builtin_prefetch(keys[b] + to_next + d * cache_block_tokens, 0, 2);
#pragma GCC unroll 4
      for (int v = 0; v < of_block; ++v)
        key[b][v] = load_widened<V>(keys[b] + d * cache_block_tokens + v * width);
    }
#pragma GCC unroll 8
    for (int g = 0; g < queries; ++g) {
      const V in = broadcast<V>(q[g]);
#pragma GCC unroll 4
      for (int b = 0; b < at_once; ++b)
#pragma GCC unroll 4
        for (int v = 0; v < of_block; ++v)
          sums[g][b][v] += in * key[b][v];
    }
  }
#pragma GCC unroll 8
  for (int g = 0; g < queries; ++g)
#pragma GCC unroll 4
    for (int b = 0; b < at_once; ++b)
#pragma GCC unroll 4
      for (int v = 0; v < of_block; ++v)
        store(scores + g * chunk_tokens + (block + b) * cache_block_tokens + v * width, sums[g][b][v]);
}

/// Multiplies what tokens [first, last) of a chunk have by the scales of their keys or values.
/// @param of_tokens [queries, chunk_tokens]
template <int width, class Number>
MILLRACE_INLINE void multiply_by_scales(const head_chunk<Number>& h, std::int64_t first, std::int64_t last,
                                        std::int64_t queries, float* of_tokens) {
  using V = vector<width>;
  for (std::int64_t t = first; t < last;) {
    const float* const scales = h.scales[t / cache_block_tokens] + t % cache_block_tokens;
    const std::int64_t end = std::min(last, (t / cache_block_tokens + 1) * cache_block_tokens);
    const auto step = t + width <= end ? width : std::int64_t{1};
    for (std::int64_t g = 0; g < queries; ++g) {
      float* const at = of_tokens + g * chunk_tokens + t;
      if (step == width)
        store(at, load<V>(at) * load<V>(scales));
      else
        *at *= *scales;
    }
    t += step;
  }
}

/// Scores become weights exp(score - peak), those of tokens that the query does not see 0.
/// @param scores [chunk_tokens]   @param seen in [1, chunk_tokens]
template <int width>
MILLRACE_INLINE void weigh(float* scores, std::int64_t seen, float& peak, float& total) {
  static_assert(cache_block_tokens == 16);
  const std::int64_t upto = (seen + cache_block_tokens - 1) / cache_block_tokens * cache_block_tokens;
  // Places of the last block that nobody has written hold anything, NaN too.
  for (std::int64_t t = seen; t < upto; ++t)
    scores[t] = unseen;
  auto peaks = lanes<width>::all(unseen);
  for (std::int64_t t = 0; t < upto; t += cache_block_tokens)
    peaks.raise(lanes<width>::load(scores + t));
  peak = peaks.max();
  lanes<width> totals{};
  for (std::int64_t t = 0; t < upto; t += cache_block_tokens) {
    const auto weights = weight_of(lanes<width>::load(scores + t), peak, 1.0f);
    totals += weights;
    weights.store(scores + t);
  }
  total = totals.sum();
}

/// y[g, from_dim ...] += sum over tokens [first, last) of weight[g, t] * value[t], in the tokens' order, for
/// width * vectors of the head's dimensions. Token 0 begins the sum.
/// @param weights [queries, chunk_tokens]   @param y [queries, y_stride]
template <int width, int queries, int vectors, class Number>
MILLRACE_INLINE void mix_values(const head_chunk<Number>& h, std::int64_t first, std::int64_t last,
                                const float* weights, std::int64_t from_dim, float* y, std::int64_t y_stride) {
  using V = vector<width>;
  V sums[queries][vectors];
  y += from_dim;
#pragma GCC unroll 8
  for (int g = 0; g < queries; ++g)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v)
      sums[g][v] = first == 0 ? V{} : load<V>(y + g * y_stride + v * width);
  for (std::int64_t t = first; t < last;) {
    const std::int64_t at = t % cache_block_tokens * h.head_dim + from_dim;
    const Number* value = h.numbers[t / cache_block_tokens] + at;
    const Number* fetch = h.next[t / cache_block_tokens] + at;
    const std::int64_t end = std::min(last, (t / cache_block_tokens + 1) * cache_block_tokens);
    for (; t < end; ++t, value += h.head_dim, fetch += h.head_dim) {
#pragma GCC unroll 4
      for (int n = 0; n < vectors * width; n += 64 / static_cast<int>(sizeof(Number)))
        __builtin_prefetch(fetch + n, 0, 2);
      V x[vectors];
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v)
        x[v] = load_widened<V>(value + v * width);
#pragma GCC unroll 8
      for (int g = 0; g < queries; ++g) {
        const V weight = broadcast<V>(weights[g * chunk_tokens + t]);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v)
          sums[g][v] += weight * x[v];
      }
    }
  }
#pragma GCC unroll 8
  for (int g = 0; g < queries; ++g)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v)
      store(y + g * y_stride + v * width, sums[g][v]);
}

/// The same for the whole head.
template <int width, int queries, class Number>
MILLRACE_INLINE void mix_head(const head_chunk<Number>& h, std::int64_t first, std::int64_t last, const float* weights,
                              float* y, std::int64_t y_stride) {
  constexpr int vectors = std::min(vectors_a_query<width, queries>, 64 / width);
  std::int64_t d = 0;
  for (; d + vectors * width <= h.head_dim; d += vectors * width)
    mix_values<width, queries, vectors>(h, first, last, weights, d, y, y_stride);
  for (; d + width <= h.head_dim; d += width)
    mix_values<width, queries, 1>(h, first, last, weights, d, y, y_stride);
  for (; d < h.head_dim; ++d)
    for (int g = 0; g < queries; ++g)
      mix_values<1, 1, 1>(h, first, last, weights + g * chunk_tokens, d, y + g * y_stride, y_stride);
}

/// What some of a query's keys and values give: y [head_dim], not yet divided by the total of its weights, which are
/// taken against the peak of its scores; then these two.
class partial {
public:
  static std::int64_t floats(std::int64_t head_dim) { return (head_dim + 2 + 15) / 16 * 16; }

  partial(float* at, std::int64_t head_dim) : y_(at), head_dim_(head_dim) {}

  float* y() const { return y_; }

  float& peak() const { return y_[head_dim_]; }

  float& total() const { return y_[head_dim_ + 1]; }

  void clear() const {
    std::fill_n(y_, head_dim_, 0.0f);
    peak() = unseen;
    total() = 0;
  }

  /// Adds what the next chunk gave.
  template <int width>
  MILLRACE_INLINE void add(const partial& next) const {
    const float both = std::max(peak(), next.peak());
    const vector<width> mine = weight_of(broadcast<vector<width>>(peak()), both, 1.0f);
    const vector<width> its = weight_of(broadcast<vector<width>>(next.peak()), both, 1.0f);

    const auto join = [&]<class V>(float* to, const float* from, V a, V b) __attribute__((always_inline)) {
      store(to, load<V>(to) * a + load<V>(from) * b);
    };

    std::int64_t d = 0;
    for (; d + width <= head_dim_; d += width)
      join(y_ + d, next.y_ + d, mine, its);
    for (; d < head_dim_; ++d)
      join(y_ + d, next.y_ + d, mine[0], its[0]);
    join(&total(), &next.total(), mine[0], its[0]);
    peak() = both;
  }

  MILLRACE_INLINE void finish(float* y) const {
    const float inverse = 1.0f / total();
    for (std::int64_t d = 0; d < head_dim_; ++d)
      y[d] = y_[d] * inverse;
  }

private:
  float* y_;
  std::int64_t head_dim_;
};

} // namespace millrace::kernels
