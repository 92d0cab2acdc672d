#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::formats {

/// How a tensor's elements lie in a file. The last three hold 32 elements a block (gguf_blocks.hpp).
enum class storage { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean, q8_0, q4_0, q4_1 };

/// @returns safetensors' spelling (F32, BF16, ...) or ggml's (Q8_0, ...)
std::string_view storage_name(storage kind);

/// @returns bytes that `shape` takes, or nothing when a count overflows 63 bits, a dimension is negative, or the last
///          dimension does not fill whole blocks
std::optional<std::int64_t> storage_bytes(storage kind, std::span<const std::int64_t> shape);

/// A tensor where it lies in a mapped file. `bytes.size()` is exactly what `shape` takes; no alignment is promised.
struct stored_tensor {
  std::string name;
  storage kind = storage::f32;
  std::vector<std::int64_t> shape; ///< outermost first
  std::span<const std::byte> bytes;
};

} // namespace millrace::formats
