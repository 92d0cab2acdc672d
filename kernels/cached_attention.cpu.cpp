#include "kernels/cached_attention.hpp"

#include "kernels/attention_chunk.hpp"
#include "kernels/cache_layout.hpp"
#include "kernels/thread_team.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <type_traits>
#include <vector>

namespace millrace::kernels {
namespace {

constexpr std::int64_t tokens = cache_block_tokens;

/// Query heads of a tile, which fetch keys and values together.
constexpr std::int64_t tile_queries = 24;

std::int64_t blocks_of(std::int64_t count) {
  return (count + tokens - 1) / tokens;
}

/// Rows whose sequences begin with the same block, and so may share more: a prompt's, or the answers' of one prompt.
struct row_tile {
  std::int64_t first, rows; ///< in the plan's order
  std::int64_t chunks;      ///< that the row which sees most sees
};

/// A run of chunks of one tile and kv head: what a thread does at a time.
struct piece {
  row_tile tile;
  std::int64_t kv_head, first_chunk, last_chunk;
  std::int64_t partials; ///< where those of the tile and head begin, [chunks, queries]; -1: the piece has all chunks
};

/// How a call is cut. No bit depends on it: a query's sums begin anew with each chunk and are joined in their order.
struct work_plan {
  std::vector<std::int64_t> order; ///< the rows, those of a tile beside each other
  std::vector<piece> pieces;
  std::vector<piece> joined; ///< all chunks of tiles and heads that several pieces have
  std::int64_t partial_floats = 0;
  std::int64_t pieces_at_once = 1; ///< that a thread fetches

  work_plan(const cached_attention_args& a, int threads) : order(static_cast<std::size_t>(a.rows)) {
    const auto first_block = [&](std::int64_t row) { return a.places[row].blocks[0]; };
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, std::less<>(), first_block);
    const std::int64_t group = a.heads / a.kv_heads;
    const std::int64_t most_rows = std::max<std::int64_t>(1, tile_queries / group);
    std::vector<row_tile> tiles;
    std::int64_t work = 0;
    for (std::int64_t i = 0; i < a.rows; ++i) {
      const std::int64_t row = order[static_cast<std::size_t>(i)];
      if (tiles.empty() || tiles.back().rows == most_rows
          || first_block(row) != first_block(order[static_cast<std::size_t>(i - 1)]))
        tiles.push_back({i, 0, 0});
      tiles.back().rows += 1;
      tiles.back().chunks = std::max(tiles.back().chunks, a.places[row].position / chunk_tokens + 1);
    }
    for (const auto& tile : tiles)
      work += tile.rows * tile.chunks * a.kv_heads;
    const std::int64_t share = threads == 1 ? work : work / (8 * threads);
    for (std::int64_t kv_head = 0; kv_head < a.kv_heads; ++kv_head)
      for (const auto& tile : tiles)
        cut(tile, kv_head, std::max<std::int64_t>(1, share / tile.rows),
            tile.rows * group * partial::floats(a.head_dim));
    const auto count = static_cast<std::int64_t>(pieces.size());
    pieces_at_once = std::clamp<std::int64_t>(8 * count / std::max<std::int64_t>(1, work), 1,
                                              std::max<std::int64_t>(1, count / (4 * threads)));
  }

private:
  void cut(const row_tile& tile, std::int64_t kv_head, std::int64_t chunks, std::int64_t floats_a_chunk) {
    if (chunks >= tile.chunks) {
      pieces.push_back({tile, kv_head, 0, tile.chunks, -1});
      return;
    }
    joined.push_back({tile, kv_head, 0, tile.chunks, partial_floats});
    for (std::int64_t first = 0; first < tile.chunks; first += chunks)
      pieces.push_back({tile, kv_head, first, std::min(tile.chunks, first + chunks), partial_floats});
    partial_floats += tile.chunks * floats_a_chunk;
  }
};

/// Memory of a thread, 64-byte aligned, kept from call to call.
class scratch {
public:
  float* room(std::int64_t floats) {
    if (lines_.size() * 16 < static_cast<std::size_t>(floats))
      lines_.resize(static_cast<std::size_t>(floats + 15) / 16);
    return lines_.data()->floats;
  }

private:
  struct alignas(64) line {
    float floats[16];
  };

  std::vector<line> lines_;
};

/// The rows of one tile and the query heads of one kv head.
template <int width>
class tile_attention {
public:
  MILLRACE_INLINE tile_attention(const cached_attention_args& a, const std::vector<std::int64_t>& order,
                                 const row_tile& tile, std::int64_t kv_head)
      : a_(a), rows_(order.data() + tile.first), tile_(tile),
        behind_(a.places[order[static_cast<std::size_t>((tile.first + tile.rows) % a.rows)]]), kv_head_(kv_head),
        group_(a.heads / a.kv_heads), queries_(tile.rows * group_), partial_floats_(partial::floats(a.head_dim)) {
    thread_local scratch mine;
    const std::int64_t q_floats = (queries_ * a.head_dim + 15) / 16 * 16;
    const std::int64_t wide_floats = a.cached_as == storage::float32 ? 0 : chunk_tokens * a.head_dim;
    q_ = mine.room(q_floats + queries_ * (chunk_tokens + 2 * partial_floats_) + wide_floats);
    scores_ = q_ + q_floats;
    next_ = scores_ + queries_ * chunk_tokens;
    sums_ = next_ + queries_ * partial_floats_;
    wide_ = sums_ + queries_ * partial_floats_;
  }

  /// Chunks [first, last): all of them and the result, or each into `partials` [chunks, queries].
  MILLRACE_INLINE void attend(std::int64_t first, std::int64_t last, float* partials) {
    gather();
    for (std::int64_t chunk = first; chunk < last; ++chunk) {
      float* const to = partials ? partials + chunk * queries_ * partial_floats_ : next_;
      attend_chunk(chunk, to);
      if (!partials)
        join(chunk, to);
    }
    if (!partials)
      finish();
  }

  /// The result of what `attend` put into `partials`.
  MILLRACE_INLINE void join_all(float* partials) {
    for (std::int64_t chunk = 0; chunk < tile_.chunks; ++chunk)
      join(chunk, partials + chunk * queries_ * partial_floats_);
    finish();
  }

private:
  const cache_place& place(std::int64_t i) const { return a_.places[rows_[i]]; }

  /// Numbers from the start of q or y to the heads of row `i`.
  std::int64_t heads_at(std::int64_t i) const { return (rows_[i] * a_.heads + kv_head_ * group_) * a_.head_dim; }

  /// Tokens of a chunk that row `i` sees, below 1 if none.
  std::int64_t seen(std::int64_t i, std::int64_t chunk) const {
    return std::min(chunk_tokens, place(i).position + 1 - chunk * chunk_tokens);
  }

  /// q as [head_dim, queries], scaled.
  void gather() {
    const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(a_.head_dim)));
    for (std::int64_t i = 0; i < tile_.rows; ++i)
      for (std::int64_t g = 0; g < group_; ++g)
        for (std::int64_t d = 0; d < a_.head_dim; ++d)
          q_[d * queries_ + i * group_ + g] = a_.q[heads_at(i) + g * a_.head_dim + d] * scale;
  }

  /// Blocks of a chunk that row `i` sees.
  std::int64_t blocks_seen(std::int64_t i, std::int64_t chunk) const { return blocks_of(seen(i, chunk)); }

  void* const* blocks(std::int64_t i, std::int64_t chunk) const { return place(i).blocks + chunk * chunk_blocks; }

  /// Rows next to each other that begin a chunk with the same blocks.
  struct sharing {
    std::int64_t first, last;
    std::int64_t blocks; ///< that all of them have in common, as far as they see them; those are `first`'s
  };

  sharing sharing_from(std::int64_t first, std::int64_t chunk) const {
    sharing s{first, first + 1, blocks_seen(first, chunk)};
    for (std::int64_t i = first; i < tile_.rows; ++i)
      if (blocks(i, chunk) == blocks(first, chunk))
        s.blocks = std::max(s.blocks, blocks_seen(i, chunk));
    for (; s.last < tile_.rows && seen(s.last, chunk) >= 1; ++s.last) {
      void* const* const mine = blocks(first, chunk);
      void* const* const its = blocks(s.last, chunk);
      if (its == mine)
        continue;
      const std::int64_t upto = std::min(s.blocks, blocks_seen(s.last, chunk));
      const std::int64_t same = std::mismatch(mine, mine + upto, its).first - mine;
      if (same == 0)
        break;
      if (same < upto)
        s.blocks = same;
    }
    return s;
  }

  MILLRACE_INLINE void attend_chunk(std::int64_t chunk, float* partials) {
    for (std::int64_t i = 0; i < tile_.rows;)
      if (seen(i, chunk) < 1) {
        ++i;
      } else {
        const sharing rows = sharing_from(i, chunk);
        attend_shared(rows, chunk, partials);
        i = rows.last;
      }
  }

  /// body(numbers): the keys or the values of the first `count` blocks of row i's chunk, where the cache has them, or
  /// widened once for all if many `queries` read bfloat16 or int8.
  template <class Body>
  MILLRACE_INLINE void with_numbers(std::int64_t i, std::int64_t chunk, std::int64_t count, bool keys,
                                    std::int64_t queries, const Body& body) {
    const bool few = queries <= most_queries<width>;
    head_chunk<float> numbers;
    if (a_.cached_as == storage::float32) {
      numbers = in_place<float>(i, chunk, count, keys);
    } else if (a_.cached_as == storage::bfloat16) {
      const auto stored = in_place<bfloat16>(i, chunk, count, keys);
      if (few)
        return body(stored);
      numbers = widened(stored, count);
    } else {
      const auto stored = in_place<std::int8_t>(i, chunk, count, keys);
      if (few)
        return body(stored);
      numbers = widened(stored, count);
    }
    body(numbers);
  }

  template <class Number>
  head_chunk<Number> in_place(std::int64_t i, std::int64_t chunk, std::int64_t count, bool keys) const {
    head_chunk<Number> h{.numbers = {}, .next = {}, .scales = {}, .head_dim = a_.head_dim};
    const std::int64_t keys_from = keys_at(a_, kv_head_), values_from = values_at(a_, kv_head_);
    const std::int64_t rest = place(i).position / tokens - (chunk + 1) * chunk_blocks;
    for (std::int64_t b = 0; b < count; ++b) {
      const auto* const block = static_cast<const Number*>(blocks(i, chunk)[b]);
      const void* const later =
          rest >= 0 ? blocks(i, chunk + 1)[std::min(b, rest)] : behind_.blocks[std::min(b, behind_.position / tokens)];
      h.numbers[b] = block + (keys ? keys_from : values_from);
      h.next[b] = keys ? block + values_from : static_cast<const Number*>(later) + keys_from;
      if constexpr (std::is_same_v<Number, std::int8_t>)
        h.scales[b] = scales_in(block, keys ? key_scales_at(a_, kv_head_) : value_scales_at(a_, kv_head_));
    }
    return h;
  }

  template <class Number>
  MILLRACE_INLINE head_chunk<float> widened(const head_chunk<Number>& h, std::int64_t count) const {
    head_chunk<float> wide{.numbers = {}, .next = {}, .scales = {}, .head_dim = h.head_dim};
    const std::int64_t numbers = tokens * h.head_dim;
    for (std::int64_t b = 0; b < count; ++b) {
      float* const to = wide_ + b * numbers;
      for (std::int64_t n = 0; n < numbers; n += width)
        store(to + n, load_widened<vector<width>>(h.numbers[b] + n));
      wide.numbers[b] = wide.next[b] = to;
      wide.scales[b] = h.scales[b];
    }
    return wide;
  }

  /// The part of a chunk that rows have in common, for all of them at once, and what each has beyond it by itself.
  MILLRACE_INLINE void attend_shared(const sharing& rows, std::int64_t chunk, float* partials) {
    // Beyond what all of them see each row goes on by itself, also in a common block: a later value may be infinite.
    std::int64_t common = rows.blocks * tokens;
    for (std::int64_t i = rows.first; i < rows.last; ++i)
      common = std::min(common, seen(i, chunk));
    for (std::int64_t part = rows.first - 1; part < rows.last; ++part) {
      const bool all = part < rows.first;
      const std::int64_t i = all ? rows.first : part, queries = group_ * (all ? rows.last - rows.first : 1);
      const std::int64_t from = all ? 0 : rows.blocks, upto = all ? rows.blocks : blocks_seen(i, chunk);
      if (from < upto)
        with_numbers(
            i, chunk, upto, true, queries, [&](const auto& keys) __attribute__((always_inline)) {
              score(keys, from, upto, i * group_, queries);
            });
    }
    for (std::int64_t g = rows.first * group_; g < rows.last * group_; ++g) {
      const partial its(partials + g * partial_floats_, a_.head_dim);
      weigh<width>(scores_ + g * chunk_tokens, seen(g / group_, chunk), its.peak(), its.total());
    }
    for (std::int64_t part = rows.first - 1; part < rows.last; ++part) {
      const bool all = part < rows.first;
      const std::int64_t i = all ? rows.first : part, queries = group_ * (all ? rows.last - rows.first : 1);
      const std::int64_t from = all ? 0 : common, upto = all ? common : seen(i, chunk);
      if (from < upto)
        with_numbers(
            i, chunk, blocks_of(upto), false, queries, [&](const auto& values) __attribute__((always_inline)) {
              mix(values, from, upto, i * group_, queries, partials);
            });
    }
  }

  /// Scores of blocks [from, upto) for queries [first, first + queries).
  template <class Number>
  MILLRACE_INLINE void score(const head_chunk<Number>& keys, std::int64_t from, std::int64_t upto, std::int64_t first,
                             std::int64_t queries) {
    for_queries<width>(
        queries, [&](std::int64_t g, auto count) __attribute__((always_inline)) {
          constexpr int at_once = std::clamp(vectors_a_query<width, count> * width / static_cast<int>(tokens), 1, 4);
          const float* const q = q_ + first + g;
          float* const scores = scores_ + (first + g) * chunk_tokens;
          std::int64_t b = from;
          for (; b + at_once <= upto; b += at_once)
            score_blocks<width, count, at_once>(keys, b, q, queries_, scores);
          for (; b < upto; ++b)
            score_blocks<width, count, 1>(keys, b, q, queries_, scores);
        });
    if (a_.cached_as == storage::int8)
      multiply_by_scales<width>(keys, from * tokens, upto * tokens, queries, scores_ + first * chunk_tokens);
  }

  /// Values of tokens [from, upto) for queries [first, first + queries).
  template <class Number>
  MILLRACE_INLINE void mix(const head_chunk<Number>& values, std::int64_t from, std::int64_t upto, std::int64_t first,
                           std::int64_t queries, float* partials) {
    if (a_.cached_as == storage::int8)
      multiply_by_scales<width>(values, from, upto, queries, scores_ + first * chunk_tokens);
    for_queries<width>(
        queries, [&](std::int64_t g, auto count) __attribute__((always_inline)) {
          mix_head<width, count>(values, from, upto, scores_ + (first + g) * chunk_tokens,
                                 partials + (first + g) * partial_floats_, partial_floats_);
        });
  }

  MILLRACE_INLINE void join(std::int64_t chunk, float* partials) {
    for (std::int64_t g = 0; g < queries_; ++g) {
      const partial all(sums_ + g * partial_floats_, a_.head_dim);
      if (chunk == 0)
        all.clear();
      if (seen(g / group_, chunk) >= 1)
        all.template add<width>({partials + g * partial_floats_, a_.head_dim});
    }
  }

  MILLRACE_INLINE void finish() {
    for (std::int64_t g = 0; g < queries_; ++g)
      partial(sums_ + g * partial_floats_, a_.head_dim).finish(a_.y + heads_at(g / group_) + g % group_ * a_.head_dim);
  }

  const cached_attention_args& a_;
  const std::int64_t* rows_;
  row_tile tile_;
  const cache_place& behind_; ///< of the row that follows the tile
  std::int64_t kv_head_, group_, queries_, partial_floats_;
  float *q_, *scores_, *next_, *sums_, *wide_;
};

/// A number of the cache, for the reference. @param scale_at where its scale stands, in int8
double cached(const cached_attention_args& a, const cache_place& place, std::int64_t t, std::int64_t at,
              std::int64_t scale_at) {
  const void* const block = place.blocks[t / tokens];
  switch (a.cached_as) {
  case storage::float32:
    return static_cast<const float*>(block)[at];
  case storage::bfloat16:
    return widened(static_cast<const bfloat16*>(block)[at]);
  case storage::int8:
    break;
  }
  const auto* const bytes = static_cast<const std::int8_t*>(block);
  return bytes[at] * static_cast<double>(scales_in(bytes, scale_at)[t % tokens]);
}

} // namespace

void cached_attention(const cached_attention_args& a, thread_team& team) {
  check_cache_arguments(a);
  const work_plan plan(a, team.threads());
  thread_local scratch kept;
  float* const partials = kept.room(plan.partial_floats + 1);
  const auto for_tiles = [&](const std::vector<piece>& pieces, std::int64_t at_once, const auto& body) {
    team.run(static_cast<std::int64_t>(pieces.size()), at_once, [&](std::int64_t first, std::int64_t last) {
      with_instruction_set(
          team.instructions(), [&](auto width) __attribute__((always_inline)) {
            for (std::int64_t i = first; i < last; ++i) {
              const piece& p = pieces[static_cast<std::size_t>(i)];
              body(p, tile_attention<decltype(width)::value>(a, plan.order, p.tile, p.kv_head));
            }
          });
    });
  };
  for_tiles(
      plan.pieces, plan.pieces_at_once, [&](const piece& p, auto tile) __attribute__((always_inline)) {
        tile.attend(p.first_chunk, p.last_chunk, p.partials < 0 ? nullptr : partials + p.partials);
      });
  for_tiles(
      plan.joined,
      1, [&](const piece& p, auto tile) __attribute__((always_inline)) { tile.join_all(partials + p.partials); });
}

void cached_attention_reference(const cached_attention_args& a) {
  check_cache_arguments(a);
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
          score += static_cast<double>(q[d])
                   * cached(a, place, t, keys_at(a, kv_head) + d * tokens + t % tokens, key_scales_at(a, kv_head));
        weight[static_cast<std::size_t>(t)] = score * scale;
        peak = std::max(peak, score * scale);
      }
      for (auto& w : weight)
        total += w = std::exp(w - peak);
      for (std::int64_t d = 0; d < a.head_dim; ++d) {
        double mixed = 0;
        for (std::int64_t t = 0; t < count; ++t)
          mixed +=
              weight[static_cast<std::size_t>(t)]
              * cached(a, place, t, values_at(a, kv_head) + t % tokens * a.head_dim + d, value_scales_at(a, kv_head));
        a.y[(r * a.heads + h) * a.head_dim + d] = static_cast<float>(mixed / total);
      }
    }
}

} // namespace millrace::kernels
