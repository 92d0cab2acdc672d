#include "runtime/formats/stored_tensor.hpp"

#include "runtime/formats/gguf_blocks.hpp"

#include <array>

namespace millrace::formats {
namespace {

struct storage_kind {
  storage kind;
  std::string_view name;
  std::int64_t elements; ///< of one block
  std::int64_t bytes;    ///< of one block
};

constexpr std::array<storage_kind, 13> kinds{{{storage::f64, "F64", 1, 8},
                                              {storage::f32, "F32", 1, 4},
                                              {storage::f16, "F16", 1, 2},
                                              {storage::bf16, "BF16", 1, 2},
                                              {storage::i64, "I64", 1, 8},
                                              {storage::i32, "I32", 1, 4},
                                              {storage::i16, "I16", 1, 2},
                                              {storage::i8, "I8", 1, 1},
                                              {storage::u8, "U8", 1, 1},
                                              {storage::boolean, "BOOL", 1, 1},
                                              {storage::q8_0, "Q8_0", block_elements, q8_0_block_bytes},
                                              {storage::q4_0, "Q4_0", block_elements, q4_0_block_bytes},
                                              {storage::q4_1, "Q4_1", block_elements, q4_1_block_bytes}}};

const storage_kind& about(storage kind) {
  return kinds.at(static_cast<std::size_t>(kind));
}

} // namespace

std::string_view storage_name(storage kind) {
  return about(kind).name;
}

std::optional<std::int64_t> storage_bytes(storage kind, std::span<const std::int64_t> shape) {
  const auto& block = about(kind);
  if (block.elements > 1 && (shape.empty() || shape.back() % block.elements != 0))
    return std::nullopt;
  std::int64_t count = 1;
  bool empty = false;
  for (const auto size : shape) {
    if (size < 0)
      return std::nullopt;
    empty = empty || size == 0;
    if (size != 0 && __builtin_mul_overflow(count, size, &count))
      return std::nullopt;
  }
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(count / block.elements, block.bytes, &bytes))
    return std::nullopt;
  return empty ? 0 : bytes;
}

} // namespace millrace::formats
