#pragma once

#include "kernels/cached_attention.hpp"

#include <cstdint>
#include <stdexcept>
#include <type_traits>

/// Where keys, values and scales of one layer stand in a block.
namespace millrace::kernels {

inline void check_cache_arguments(const cached_attention_args& a) {
  if (a.rows < 0 || a.kv_heads < 1 || a.head_dim < 1 || a.heads < 1 || a.heads % a.kv_heads != 0)
    throw std::invalid_argument("cached_attention: need rows >= 0, head_dim >= 1 and heads a multiple of kv_heads");
}

inline std::int64_t keys_at(const cached_attention_args& a, std::int64_t kv_head) {
  return a.layer_offset + kv_head * cache_block_tokens * a.head_dim;
}

inline std::int64_t values_at(const cached_attention_args& a, std::int64_t kv_head) {
  return a.layer_offset + (a.kv_heads + kv_head) * cache_block_tokens * a.head_dim;
}

/// Where the scales of a kv head stand in a block in int8, in bytes.
inline std::int64_t key_scales_at(const cached_attention_args& a, std::int64_t kv_head) {
  constexpr auto size = static_cast<std::int64_t>(sizeof(float));
  return a.layer_offset + 2 * a.kv_heads * cache_block_tokens * a.head_dim + kv_head * cache_block_tokens * size;
}

inline std::int64_t value_scales_at(const cached_attention_args& a, std::int64_t kv_head) {
  return key_scales_at(a, a.kv_heads + kv_head);
}

template <class Block>
auto* scales_in(Block* block, std::int64_t at) {
  using number = std::conditional_t<std::is_const_v<Block>, const float, float>;
  return reinterpret_cast<number*>(block + at);
}

} // namespace millrace::kernels
