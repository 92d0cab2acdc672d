#include "runtime/model/gguf_blocks.hpp"

#include <c10/util/Half.h>

#include <cstring>

namespace millrace::model {
namespace {

float half_at(const std::byte* data) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, data, sizeof bits);
  return static_cast<float>(c10::Half(bits, c10::Half::from_bits()));
}

} // namespace

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

} // namespace millrace::model
