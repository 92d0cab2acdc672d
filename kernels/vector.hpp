#pragma once

#include "kernels/bfloat16.hpp"

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

/// Inlined into whichever instruction set the caller is compiled for (see instruction_set.hpp).
#define MILLRACE_INLINE [[gnu::always_inline]] inline

namespace millrace::kernels {

/// `width` floats that the compiler maps to the registers there are.
template <int width>
struct vector_of {
  typedef float type __attribute__((vector_size(width * sizeof(float))));
};

template <int width>
using vector = typename vector_of<width>::type;

/// The lanes in which sums and maxima are taken whatever the registers' width, so that their order is one.
using lanes = vector<16>;
typedef std::int32_t lane_ints __attribute__((vector_size(64)));

template <class V>
MILLRACE_INLINE V load(const float* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

/// 16 numbers, widened.
template <class Number>
MILLRACE_INLINE lanes load_lanes(const Number* from) {
  if constexpr (std::is_same_v<Number, float>) {
    return load<lanes>(from);
  } else {
    typedef std::uint16_t halves __attribute__((vector_size(32)));
    typedef std::uint32_t wholes __attribute__((vector_size(64)));
    halves upper;
    std::memcpy(&upper, from, sizeof upper);
    const wholes bits = __builtin_convertvector(upper, wholes) << 16;
    lanes v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
  }
}

template <class V>
MILLRACE_INLINE void store(float* to, V v) {
  std::memcpy(to, &v, sizeof v);
}

MILLRACE_INLINE lanes broadcast(float x) {
  return lanes{} + x;
}

/// The first `count` floats; the other lanes get `fill`.
MILLRACE_INLINE lanes load_some(const float* from, int count, float fill) {
  lanes v = broadcast(fill);
  std::memcpy(&v, from, static_cast<std::size_t>(count) * sizeof(float));
  return v;
}

MILLRACE_INLINE lanes max(lanes a, lanes b) {
  return a > b ? a : b;
}

/// Sum of the lanes as a tree, always the same one.
MILLRACE_INLINE float sum(lanes v) {
  float x[16];
  std::memcpy(x, &v, sizeof x);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      x[i] += x[i + half];
  return x[0];
}

MILLRACE_INLINE float max(lanes v) {
  float x[16];
  std::memcpy(x, &v, sizeof x);
  float peak = x[0];
  for (int i = 1; i < 16; ++i)
    peak = x[i] > peak ? x[i] : peak;
  return peak;
}

/// e^x within 2 units in the last place for x <= 88; 0 below -87 (and for -inf), where e^x stops being normal.
MILLRACE_INLINE lanes exp(lanes x) {
  constexpr float round = 0x1.8p23f; // adding and taking it away again rounds to a whole number
  const lanes bounded = x > -87.0f ? (x < 88.0f ? x : broadcast(88.0f)) : broadcast(-87.0f);
  const lanes shifted = bounded * 0x1.715476p0f + round;
  const lanes n = shifted - round;
  const lanes r = (bounded - n * 0x1.62e400p-1f) - n * 0x1.7f7d1cp-20f;
  lanes p = broadcast(0x1.6850e4p-10f);
  p = p * r + 0x1.123bccp-7f;
  p = p * r + 0x1.555b98p-5f;
  p = p * r + 0x1.55548ep-3f;
  p = p * r + 0x1.fffff8p-2f;
  p = p * r * r + r + 1.0f;
  lane_ints bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  lane_ints scale = (bits << 23) + (127 << 23);
  lanes power;
  std::memcpy(&power, &scale, sizeof power);
  return x > -87.0f ? p * power : lanes{};
}

} // namespace millrace::kernels
