#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace::formats {

/// Elements of one quantised block.
constexpr std::int64_t block_elements = 32;
constexpr std::int64_t q8_0_block_bytes = 34; ///< fp16 scale d, 32 int8 q: x = d q
constexpr std::int64_t q4_0_block_bytes = 18; ///< fp16 scale d, 16 bytes: x = d (q - 8)
constexpr std::int64_t q4_1_block_bytes = 20; ///< fp16 d, fp16 m, 16 bytes: x = d q + m

/// @param bits of an IEEE 754 binary16   @returns its value, exactly; a NaN keeps its sign and payload
float half_to_float(std::uint16_t bits);

// Nibbles: the low halves of a block's 16 bytes are its elements 0..15, the high halves 16..31.
// Products and sums are rounded to fp32 one at a time, as ggml's reference and the `gguf` package do.
// @param x [32 * blocks] output

void dequantise_q8_0(const std::byte* data, std::int64_t blocks, float* x);
void dequantise_q4_0(const std::byte* data, std::int64_t blocks, float* x);
void dequantise_q4_1(const std::byte* data, std::int64_t blocks, float* x);

} // namespace millrace::formats
