#pragma once

#include "kernels/vector.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace millrace::kernels {

/// exp((x - peak) * inverse_temperature), the one formula of unnormalised probabilities here.
template <class V>
MILLRACE_INLINE V weight_of(V x, float peak, float inverse_temperature) {
  return exp((x - peak) * inverse_temperature);
}

MILLRACE_INLINE float row_peak(const float* x, std::int64_t count) {
  constexpr float none = -std::numeric_limits<float>::infinity();
  lanes a = broadcast(none), b = a;
  std::int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    a = max(a, load<lanes>(x + i));
    b = max(b, load<lanes>(x + i + 16));
  }
  for (; i < count; i += 16)
    a = max(a, load_some(x + i, static_cast<int>(std::min<std::int64_t>(16, count - i)), none));
  return max(max(a, b));
}

/// Words whose weights are summed in float before the sum goes on in double.
inline constexpr std::int64_t softmax_block = 1024;

/// Sum of the weights of one block of at most `softmax_block` words.
MILLRACE_INLINE double block_weight(const float* x, std::int64_t count, float peak, float inverse_temperature) {
  constexpr float none = -std::numeric_limits<float>::infinity();
  lanes a{}, b{};
  std::int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    a += weight_of(load<lanes>(x + i), peak, inverse_temperature);
    b += weight_of(load<lanes>(x + i + 16), peak, inverse_temperature);
  }
  for (; i < count; i += 16)
    a += weight_of(load_some(x + i, static_cast<int>(std::min<std::int64_t>(16, count - i)), none), peak,
                   inverse_temperature);
  return sum(a + b);
}

/// Sum of the weights of a row: what the log-probability of each of its words is taken from.
MILLRACE_INLINE double row_weight(const float* x, std::int64_t count, float peak, float inverse_temperature) {
  double total = 0;
  for (std::int64_t i = 0; i < count; i += softmax_block)
    total += block_weight(x + i, std::min(softmax_block, count - i), peak, inverse_temperature);
  return total;
}

MILLRACE_INLINE float logprob_of(float x, float peak, float inverse_temperature, double total) {
  return static_cast<float>(static_cast<double>((x - peak) * inverse_temperature) - std::log(total));
}

} // namespace millrace::kernels
