#include "kernels/cached_attention.hpp"

#include "kernels/attention_chunk.hpp"
#include "kernels/thread_team.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace millrace::kernels {
namespace {

constexpr std::int64_t tokens = cache_block_tokens;

/// Query heads of a tile, which fetch keys and values together.
constexpr std::int64_t tile_queries = 24;

void check(const cached_attention_args& a) {
  if (a.rows < 0 || a.kv_heads < 1 || a.head_dim < 1 || a.heads < 1 || a.heads % a.kv_heads != 0)
    throw std::invalid_argument("cached_attention: need rows >= 0, head_dim >= 1 and heads a multiple of kv_heads");
}

std::int64_t blocks_of(std::int64_t count) {
  return (count + tokens - 1) / tokens;
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
    const std::int64_t wide_floats = a.cached_as == storage::float32 ? 0 : 2 * chunk_tokens * a.head_dim;
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

  /// Whether row `j` reads the blocks that row `i` reads of a chunk.
  bool shares(std::int64_t i, std::int64_t j, std::int64_t chunk) const {
    if (seen(j, chunk) < 1)
      return false;
    const auto blocks = [&](std::int64_t row) { return blocks_of(seen(row, chunk)); };
    void* const* const of_i = place(i).blocks + chunk * chunk_blocks;
    void* const* const of_j = place(j).blocks + chunk * chunk_blocks;
    return of_i == of_j || (blocks(i) == blocks(j) && std::equal(of_i, of_i + blocks(i), of_j));
  }

  MILLRACE_INLINE void attend_chunk(std::int64_t chunk, float* partials) {
    for (std::int64_t i = 0, end; i < tile_.rows; i = end) {
      end = i + 1;
      if (seen(i, chunk) < 1)
        continue;
      while (end < tile_.rows && shares(i, end, chunk))
        ++end;
      attend_shared(chunk, i, end, partials);
    }
  }

  /// The first `seen` tokens of row i's chunk where the cache has them.
  template <class Number>
  head_chunk<Number> in_place(std::int64_t i, std::int64_t chunk, std::int64_t seen) const {
    head_chunk<Number> h{
        .keys = {}, .next = {}, .to_values = values_at(a_, kv_head_) - keys_at(a_, kv_head_), .head_dim = a_.head_dim};
    const auto block = [](void* const* blocks, std::int64_t b) { return static_cast<const Number*>(blocks[b]); };
    const std::int64_t first = chunk * chunk_blocks, rest = place(i).position / tokens - first - chunk_blocks;
    for (std::int64_t b = 0; b < blocks_of(seen); ++b) {
      h.keys[b] = block(place(i).blocks, first + b) + keys_at(a_, kv_head_);
      h.next[b] = (rest >= 0 ? block(place(i).blocks, first + chunk_blocks + std::min(b, rest))
                             : block(behind_.blocks, std::min(b, behind_.position / tokens)))
                  + keys_at(a_, kv_head_);
    }
    return h;
  }

  /// Its first `seen` tokens as floats, once for all who share it.
  MILLRACE_INLINE head_chunk<float> widened_chunk(const head_chunk<bfloat16>& h, std::int64_t seen) const {
    const std::int64_t numbers = tokens * h.head_dim;
    head_chunk<float> wide{.keys = {}, .next = {}, .to_values = numbers, .head_dim = h.head_dim};
    for (std::int64_t b = 0; b < blocks_of(seen); ++b) {
      float* const keys = wide_ + 2 * b * numbers;
      for (std::int64_t n = 0; n < numbers; n += width) {
        store(keys + n, load_widened<vector<width>>(h.keys[b] + n));
        store(keys + numbers + n, load_widened<vector<width>>(h.keys[b] + h.to_values + n));
      }
      wide.keys[b] = wide.next[b] = keys;
    }
    return wide;
  }

  /// Rows [first, last), which share the chunk's blocks.
  MILLRACE_INLINE void attend_shared(std::int64_t chunk, std::int64_t first, std::int64_t last, float* partials) {
    std::int64_t most = 0;
    for (std::int64_t i = first; i < last; ++i)
      most = std::max(most, seen(i, chunk));
    if (a_.cached_as == storage::float32)
      return attend_shared(in_place<float>(first, chunk, most), chunk, first, last, partials);
    const auto stored = in_place<bfloat16>(first, chunk, most);
    if ((last - first) * group_ > most_queries<width>)
      attend_shared(widened_chunk(stored, most), chunk, first, last, partials);
    else
      attend_shared(stored, chunk, first, last, partials);
  }

  template <class Number>
  MILLRACE_INLINE void attend_shared(const head_chunk<Number>& h, std::int64_t chunk, std::int64_t first,
                                     std::int64_t last, float* partials) {
    std::int64_t least = chunk_tokens, most = 0;
    for (std::int64_t i = first; i < last; ++i) {
      least = std::min(least, seen(i, chunk));
      most = std::max(most, seen(i, chunk));
    }
    const float* const q = q_ + first * group_;
    const std::int64_t queries = (last - first) * group_, blocks = blocks_of(most);
    partials += first * group_ * partial_floats_;
    for_queries<width>(
        queries, [&](std::int64_t g, auto count) __attribute__((always_inline)) {
          constexpr int at_once = std::clamp(vectors_a_query<width, count> * width / static_cast<int>(tokens), 1, 4);
          std::int64_t b = 0;
          for (; b + at_once <= blocks; b += at_once)
            score_blocks<width, count, at_once>(h, b, q + g, queries_, scores_ + g * chunk_tokens);
          for (; b < blocks; ++b)
            score_blocks<width, count, 1>(h, b, q + g, queries_, scores_ + g * chunk_tokens);
        });
    for (std::int64_t g = 0; g < queries; ++g) {
      const partial its(partials + g * partial_floats_, a_.head_dim);
      weigh<width>(scores_ + g * chunk_tokens, seen(first + g / group_, chunk), its.peak(), its.total());
    }
    for_queries<width>(
        queries, [&](std::int64_t g, auto count) __attribute__((always_inline)) {
          mix_head<width, count>(h, 0, least, scores_ + g * chunk_tokens, partials + g * partial_floats_,
                                 partial_floats_);
        });
    // Beyond what all of them see: each its own tokens, since a later one's value may be infinite.
    for (std::int64_t g = 0; g < queries; ++g)
      if (const std::int64_t upto = seen(first + g / group_, chunk); upto > least)
        mix_head<width, 1>(h, least, upto, scores_ + g * chunk_tokens, partials + g * partial_floats_, partial_floats_);
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
