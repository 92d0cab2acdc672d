#pragma once

#include <bit>
#include <cstdint>

namespace millrace::kernels {

/// The upper half of a float's bits: its sign, its exponent and 7 bits of its fraction.
struct bfloat16 {
  std::uint16_t bits;
};

/// What weights, keys and values are stored as. In int8 weights have scales of 16 bits (packed_matrix.hpp), keys and
/// values those of cached_attention.hpp.
enum class storage : std::uint8_t { float32, bfloat16, int8 };

/// The nearest bfloat16, of two equally near the one whose last bit is 0. NaN stays NaN.
constexpr bfloat16 rounded(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

/// The same number.
constexpr float widened(bfloat16 x) {
  return std::bit_cast<float>(std::uint32_t{x.bits} << 16);
}

constexpr float widened(float x) {
  return x;
}

} // namespace millrace::kernels
