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

template <int width>
MILLRACE_INLINE lanes<width> weight_of(lanes<width> x, float peak, float inverse_temperature) {
#pragma GCC unroll 4
  for (auto& part : x.part)
    part = weight_of(part, peak, inverse_temperature);
  return x;
}

/// The next 16 words of a row, -inf behind its last one.
template <int width>
MILLRACE_INLINE lanes<width> words(const float* x, std::int64_t count) {
  constexpr float none = -std::numeric_limits<float>::infinity();
  return count >= 16 ? lanes<width>::load(x) : lanes<width>::load_some(x, count, none);
}

template <int width>
MILLRACE_INLINE float row_peak(const float* x, std::int64_t count) {
  auto a = lanes<width>::all(-std::numeric_limits<float>::infinity()), b = a;
  std::int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    a.raise(lanes<width>::load(x + i));
    b.raise(lanes<width>::load(x + i + 16));
  }
  for (; i < count; i += 16)
    a.raise(words<width>(x + i, count - i));
  a.raise(b);
  return a.max();
}

/// Words whose weights are summed in float before the sum goes on in double.
inline constexpr std::int64_t softmax_block = 1024;

/// Sum of the weights of one block of at most `softmax_block` words.
template <int width>
MILLRACE_INLINE double block_weight(const float* x, std::int64_t count, float peak, float inverse_temperature) {
  lanes<width> a{}, b{};
  std::int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    a += weight_of(lanes<width>::load(x + i), peak, inverse_temperature);
    b += weight_of(lanes<width>::load(x + i + 16), peak, inverse_temperature);
  }
  for (; i < count; i += 16)
    a += weight_of(words<width>(x + i, count - i), peak, inverse_temperature);
  a += b;
  return a.sum();
}

/// Sum of the weights of a row: what the log-probability of each of its words is taken from.
template <int width>
MILLRACE_INLINE double row_weight(const float* x, std::int64_t count, float peak, float inverse_temperature) {
  double total = 0;
  for (std::int64_t i = 0; i < count; i += softmax_block)
    total += block_weight<width>(x + i, std::min(softmax_block, count - i), peak, inverse_temperature);
  return total;
}

MILLRACE_INLINE float logprob_of(float x, float peak, float inverse_temperature, double total) {
  return static_cast<float>(static_cast<double>((x - peak) * inverse_temperature) - std::log(total));
}

} // namespace millrace::kernels
