#include "runtime/formats/gguf_blocks.hpp"

#include <bit>
#include <cstring>

namespace millrace::formats {
namespace {

float half_at(const std::byte* data) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, data, sizeof bits);
  return half_to_float(bits);
}

} // namespace

float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
  const std::uint32_t exponent = (bits >> 10) & 31u, fraction = bits & 1023u;
  if (exponent == 0) { // zero or subnormal: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  const std::uint32_t wide_exponent = exponent == 31 ? 255 : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide_exponent << 23 | fraction << 13);
}

void dequantise_q8_0(const std::byte* data, std::int64_t blocks, float* x) {
  for (; blocks > 0; --blocks, data += q8_0_block_bytes, x += block_elements) {
    const float d = half_at(data);
    for (int i = 0; i < block_elements; ++i)
      x[i] = d * static_cast<float>(static_cast<std::int8_t>(data[2 + i]));
  }
}

void dequantise_q4_0(const std::byte* data, std::int64_t blocks, float* x) {
  for (; blocks > 0; --blocks, data += q4_0_block_bytes, x += block_elements) {
    const float d = half_at(data);
    for (int i = 0; i < block_elements / 2; ++i) {
      const int pair = std::to_integer<int>(data[2 + i]);
      x[i] = d * static_cast<float>((pair & 15) - 8);
      x[i + block_elements / 2] = d * static_cast<float>((pair >> 4) - 8);
    }
  }
}

void dequantise_q4_1(const std::byte* data, std::int64_t blocks, float* x) {
  for (; blocks > 0; --blocks, data += q4_1_block_bytes, x += block_elements) {
    const float d = half_at(data);
    const float m = half_at(data + 2);
    for (int i = 0; i < block_elements / 2; ++i) {
      const int pair = std::to_integer<int>(data[4 + i]);
      x[i] = d * static_cast<float>(pair & 15) + m;
      x[i + block_elements / 2] = d * static_cast<float>(pair >> 4) + m;
    }
  }
}

} // namespace millrace::formats
