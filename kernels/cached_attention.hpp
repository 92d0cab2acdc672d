#pragma once

#include "kernels/bfloat16.hpp"

#include <cstdint>

struct CUstream_st;

namespace millrace::kernels {

class thread_team;

/// Tokens of one block of a key/value cache. Within a block, the keys of one layer and head are [head_dim, 16] (so
/// that the scores of 16 tokens fill registers) and the values [16, head_dim].
inline constexpr std::int64_t cache_block_tokens = 16;

/// Numbers of one layer in a block: keys of every kv head, then values of every kv head. In int8 the scales follow,
/// floats [2, kv_heads, 16], of the keys and then of the values: a token's keys (or values) of one head are whole steps
/// from -127 to 127 of its scale, the largest of them / 127.
constexpr std::int64_t cache_layer_numbers(std::int64_t kv_heads, std::int64_t head_dim,
                                           storage cached_as = storage::float32) {
  const auto scale = cached_as == storage::int8 ? static_cast<std::int64_t>(sizeof(float)) : 0;
  return 2 * kv_heads * cache_block_tokens * (head_dim + scale);
}

/// Where a row stands: its sequence's blocks and its position there.
struct cache_place {
  void* const* blocks;   ///< block b holds positions [16 b, 16 b + 16)
  std::int64_t position; ///< >= 0
};

/// Causal attention of rows over their own sequences' cached keys and values, in one layer.
struct cached_attention_args {
  const float* q;            ///< [rows, heads, head_dim]
  const cache_place* places; ///< [rows]; a row sees positions 0 .. its own
  float* y;                  ///< [rows, heads, head_dim] output
  std::int64_t rows;         ///< >= 0
  std::int64_t heads;        ///< a multiple of kv_heads
  std::int64_t kv_heads;     ///< >= 1
  std::int64_t head_dim;     ///< >= 1
  std::int64_t layer_offset; ///< numbers from a block's start to this layer
  storage cached_as = storage::float32;
};

/// Writes the rows' keys and values at their places, rounded where the cache is bfloat16 or int8. In int8 a token's
/// keys (or values) of one head that are not all finite are kept as NaN.
/// @param k,v [rows, kv_heads, head_dim]
void append_to_cache(const cached_attention_args& layout, const float* k, const float* v, thread_team& team);

/// y = softmax(q k^T / sqrt(head_dim)) v. A row's result depends on its q, its position and the cached values only, bit
/// for bit: not on the other rows, on threads, or on whether a prompt or a decode step brought the row. Sums over
/// tokens go in the order of the positions within chunks of 128, and then over the chunks in their order. AVX-512 and
/// AVX2 agree bit for bit; the portable version rounds each product on its own.
///
/// Rows whose places name the same blocks read these once together: the rows of a prompt, the answers of a group.
/// @throws std::invalid_argument if `heads` is no multiple of `kv_heads`
void cached_attention(const cached_attention_args& args, thread_team& team);

/// The same in double, one head at a time.
void cached_attention_reference(const cached_attention_args& args);

/// As `append_to_cache`. Enqueues on `stream`; all memory is the device's, the places and the blocks they name too.
/// @throws std::runtime_error with CUDA's own text if the launch fails
void append_to_cache_cuda(const cached_attention_args& layout, const float* k, const float* v, CUstream_st* stream);

/// One block for each row and up to eight query heads that share keys. As on the CPU, a row's result depends on its q,
/// its position and the cached values only, bit for bit. Enqueues on `stream`; all memory is the device's.
/// @throws std::invalid_argument if `heads` is no multiple of `kv_heads` or the cache is no float32
/// @throws std::runtime_error with CUDA's own text if the launch fails
void cached_attention_cuda(const cached_attention_args& args, CUstream_st* stream);

} // namespace millrace::kernels
