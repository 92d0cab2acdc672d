#pragma once

#include <bit>
#include <cstdint>

namespace millrace::kernels {

/// A float of 16 bits (IEEE 754): a sign, 5 bits of exponent, 10 of its fraction.
struct half {
  std::uint16_t bits;
};

/// The smallest half that is at least x; infinity above 65504. @param x >= 0
constexpr half half_at_least(float x) {
  constexpr float least_normal = 0x1p-14f;
  if (x < least_normal) {
    const float steps = x * 0x1p24f; // halves below the least normal one are 2^-24 apart
    const auto whole = static_cast<std::uint16_t>(steps);
    return {static_cast<std::uint16_t>(static_cast<float>(whole) < steps ? whole + 1 : whole)};
  }
  const std::uint32_t bits = ((std::bit_cast<std::uint32_t>(x) + 0x1fff) >> 13) - (112 << 10);
  return {static_cast<std::uint16_t>(bits < 0x7c00 ? bits : 0x7c00)};
}

/// The same number. @param x finite, not negative
constexpr float widened(half x) {
  return std::bit_cast<float>(std::uint32_t{x.bits} << 13) * 0x1p112f;
}

} // namespace millrace::kernels
