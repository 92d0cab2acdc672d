#include "kernels/cached_attention.hpp"

#include "kernels/softmax_row.hpp"
#include "kernels/thread_team.hpp"

#include <stdexcept>
#include <vector>

namespace millrace::kernels {
namespace {

constexpr std::int64_t tokens = cache_block_tokens;
constexpr float unseen = -std::numeric_limits<float>::infinity();

void check(const cached_attention_args& a) {
  if (a.rows < 0 || a.kv_heads < 1 || a.head_dim < 1 || a.heads < 1 || a.heads % a.kv_heads != 0)
    throw std::invalid_argument("cached_attention: need rows >= 0, head_dim >= 1 and heads a multiple of kv_heads");
}

template <class Number>
struct head_view {
  void* const* blocks;
  std::int64_t keys_from;   ///< numbers from a block's start to this layer's and head's keys
  std::int64_t values_from; ///< and values
  std::int64_t head_dim;
  std::int64_t count; ///< tokens seen

  const Number* keys(std::int64_t block) const { return static_cast<const Number*>(blocks[block]) + keys_from; }

  const Number* values(std::int64_t block) const { return static_cast<const Number*>(blocks[block]) + values_from; }
};

/// scores[g, t] for a run of `at_once` blocks: a chain over head_dim for each token.
template <int group, int at_once, class Number>
MILLRACE_INLINE void score_blocks(const head_view<Number>& h, std::int64_t block, const float* q, float scale,
                                  float* scores, std::int64_t stride) {
  lanes sums[group][at_once] = {};
  const Number* keys[at_once];
  for (int b = 0; b < at_once; ++b)
    keys[b] = h.keys(block + b);
  for (std::int64_t d = 0; d < h.head_dim; ++d)
    for (int b = 0; b < at_once; ++b) {
      const lanes k = load_lanes(keys[b] + d * tokens);
      for (int g = 0; g < group; ++g)
        sums[g][b] += k * q[g * h.head_dim + d];
    }
  for (int b = 0; b < at_once; ++b)
    for (int g = 0; g < group; ++g)
      store(scores + g * stride + (block + b) * tokens, sums[g][b] * scale);
}

/// y[g, 16 * vectors] = sum over tokens of weight[g, t] * value[t], in the tokens' order.
template <int group, int vectors, class Number>
MILLRACE_INLINE void mix_values(const head_view<Number>& h, const float* weights, std::int64_t stride,
                                const float* inverse, std::int64_t from, float* y) {
  lanes sums[group][vectors] = {};
  for (std::int64_t first = 0; first < h.count; first += tokens) {
    const Number* value = h.values(first / tokens) + from;
    const std::int64_t last = std::min(h.count, first + tokens);
    for (std::int64_t t = first; t < last; ++t, value += h.head_dim)
      for (int v = 0; v < vectors; ++v) {
        const lanes x = load_lanes(value + 16 * v);
        for (int g = 0; g < group; ++g)
          sums[g][v] += x * weights[g * stride + t];
      }
  }
  for (int g = 0; g < group; ++g)
    for (int v = 0; v < vectors; ++v)
      store(y + g * h.head_dim + from + 16 * v, sums[g][v] * inverse[g]);
}

/// `group` query heads over the same keys and values. `scores` has room for group * stride floats.
template <int group, class Number>
MILLRACE_INLINE void attend(const head_view<Number>& h, const float* q, float scale, float* scores, std::int64_t stride,
                            float* y) {
  const std::int64_t blocks = (h.count + tokens - 1) / tokens;
  std::int64_t b = 0;
  for (; b + 2 <= blocks; b += 2)
    score_blocks<group, 2>(h, b, q, scale, scores, stride);
  if (b < blocks)
    score_blocks<group, 1>(h, b, q, scale, scores, stride);
  float inverse[group];
  for (int g = 0; g < group; ++g) {
    float* s = scores + g * stride;
    // Places of the last block that nobody has written hold anything, NaN too.
    for (std::int64_t t = h.count; t < blocks * tokens; ++t)
      s[t] = unseen;
    const float peak = row_peak(s, blocks * tokens);
    lanes total{};
    for (std::int64_t t = 0; t < blocks * tokens; t += tokens) {
      const lanes w = weight_of(load<lanes>(s + t), peak, 1.0f);
      total += w;
      store(s + t, w);
    }
    inverse[g] = 1.0f / sum(total);
  }
  std::int64_t d = 0;
  for (; d + 64 <= h.head_dim; d += 64)
    mix_values<group, 4>(h, scores, stride, inverse, d, y);
  for (; d + 16 <= h.head_dim; d += 16)
    mix_values<group, 1>(h, scores, stride, inverse, d, y);
  for (; d < h.head_dim; ++d)
    for (int g = 0; g < group; ++g) {
      float mixed = 0;
      for (std::int64_t t = 0; t < h.count; ++t)
        mixed += widened(h.values(t / tokens)[(t % tokens) * h.head_dim + d]) * scores[g * stride + t];
      y[g * h.head_dim + d] = mixed * inverse[g];
    }
}

/// All query heads of one kv head, four at a time.
template <class Number>
MILLRACE_INLINE void attend_heads(const head_view<Number>& h, std::int64_t heads, const float* q, float scale,
                                  float* scores, std::int64_t stride, float* y) {
  for (; heads >= 4; heads -= 4, q += 4 * h.head_dim, y += 4 * h.head_dim)
    attend<4>(h, q, scale, scores, stride, y);
  if (heads == 3)
    attend<3>(h, q, scale, scores, stride, y);
  else if (heads == 2)
    attend<2>(h, q, scale, scores, stride, y);
  else if (heads == 1)
    attend<1>(h, q, scale, scores, stride, y);
}

std::int64_t keys_at(const cached_attention_args& a, std::int64_t kv_head) {
  return a.layer_offset + kv_head * tokens * a.head_dim;
}

std::int64_t values_at(const cached_attention_args& a, std::int64_t kv_head) {
  return a.layer_offset + (a.kv_heads + kv_head) * tokens * a.head_dim;
}

float as_stored(float x, const float*) {
  return x;
}

bfloat16 as_stored(float x, const bfloat16*) {
  return rounded(x);
}

template <class Number>
void append_row(const cached_attention_args& a, std::int64_t r, const float* k, const float* v) {
  const auto& place = a.places[r];
  auto* const block = static_cast<Number*>(place.blocks[place.position / tokens]);
  const std::int64_t t = place.position % tokens;
  for (std::int64_t h = 0; h < a.kv_heads; ++h) {
    const std::int64_t from = (r * a.kv_heads + h) * a.head_dim;
    Number* const keys = block + keys_at(a, h) + t;
    Number* const values = block + values_at(a, h) + t * a.head_dim;
    for (std::int64_t d = 0; d < a.head_dim; ++d) {
      keys[d * tokens] = as_stored(k[from + d], keys);
      values[d] = as_stored(v[from + d], values);
    }
  }
}

/// Items `first` .. `last` of the rows' kv heads.
template <class Number>
MILLRACE_INLINE void attend_items(const cached_attention_args& a, std::int64_t first, std::int64_t last, float scale,
                                  float* scores, std::int64_t stride) {
  const std::int64_t group = a.heads / a.kv_heads;
  for (std::int64_t i = first; i < last; ++i) {
    const std::int64_t kv_head = i / a.rows, r = i % a.rows; // neighbours share a head, rows of one prompt its keys
    const std::int64_t at = (r * a.heads + kv_head * group) * a.head_dim;
    const head_view<Number> h{a.places[r].blocks, keys_at(a, kv_head), values_at(a, kv_head), a.head_dim,
                              a.places[r].position + 1};
    attend_heads(h, group, a.q + at, scale, scores, stride, a.y + at);
  }
}

/// A number of the cache, for the reference.
float cached(const cached_attention_args& a, const cache_place& place, std::int64_t t, std::int64_t at) {
  const void* const block = place.blocks[t / tokens];
  return a.cached_as == storage::float32 ? static_cast<const float*>(block)[at]
                                         : widened(static_cast<const bfloat16*>(block)[at]);
}

} // namespace

void append_to_cache(const cached_attention_args& a, const float* k, const float* v, thread_team& team) {
  check(a);
  constexpr std::int64_t rows = 16;
  team.run(a.rows, rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r)
      if (a.cached_as == storage::float32)
        append_row<float>(a, r, k, v);
      else
        append_row<bfloat16>(a, r, k, v);
  });
}

void cached_attention(const cached_attention_args& a, thread_team& team) {
  check(a);
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(a.head_dim)));
  std::int64_t longest = 0;
  for (std::int64_t r = 0; r < a.rows; ++r)
    longest = std::max(longest, a.places[r].position + 1);
  const std::int64_t stride = (longest + 2 * tokens - 1) / tokens * tokens;
  const std::int64_t items = a.rows * a.kv_heads;
  const std::int64_t piece = std::max<std::int64_t>(1, std::min<std::int64_t>(8, items / (4 * team.threads())));
  team.run(items, piece, [&](std::int64_t first, std::int64_t last) {
    thread_local std::vector<float> room;
    if (room.size() < static_cast<std::size_t>(4 * stride))
      room.resize(static_cast<std::size_t>(4 * stride));
    float* const scores = room.data();
    with_instruction_set(
        team.instructions(), [&](auto) __attribute__((always_inline)) {
          if (a.cached_as == storage::float32)
            attend_items<float>(a, first, last, scale, scores, stride);
          else
            attend_items<bfloat16>(a, first, last, scale, scores, stride);
        });
  });
}

void cached_attention_reference(const cached_attention_args& a) {
  check(a);
  const double scale = 1 / std::sqrt(static_cast<double>(a.head_dim));
  for (std::int64_t r = 0; r < a.rows; ++r)
    for (std::int64_t h = 0; h < a.heads; ++h) {
      const auto& place = a.places[r];
      const std::int64_t kv_head = h / (a.heads / a.kv_heads), count = place.position + 1;
      const float* q = a.q + (r * a.heads + h) * a.head_dim;
      std::vector<double> weight(static_cast<std::size_t>(count));
      double peak = -std::numeric_limits<double>::infinity(), total = 0;
      for (std::int64_t t = 0; t < count; ++t) {
        double score = 0;
        for (std::int64_t d = 0; d < a.head_dim; ++d)
          score += static_cast<double>(q[d]) * cached(a, place, t, keys_at(a, kv_head) + d * tokens + t % tokens);
        weight[static_cast<std::size_t>(t)] = score * scale;
        peak = std::max(peak, score * scale);
      }
      for (auto& w : weight)
        total += w = std::exp(w - peak);
      for (std::int64_t d = 0; d < a.head_dim; ++d) {
        double mixed = 0;
        for (std::int64_t t = 0; t < count; ++t)
          mixed += weight[static_cast<std::size_t>(t)]
                   * cached(a, place, t, values_at(a, kv_head) + t % tokens * a.head_dim + d);
        a.y[(r * a.heads + h) * a.head_dim + d] = static_cast<float>(mixed / total);
      }
    }
}

} // namespace millrace::kernels
