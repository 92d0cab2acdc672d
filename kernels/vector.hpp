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
  typedef std::int32_t ints __attribute__((vector_size(width * sizeof(float))));
  typedef std::uint16_t halves __attribute__((vector_size(width * sizeof(std::uint16_t))));
};

template <int width>
using vector = typename vector_of<width>::type;

/// The lanes in which sums and maxima are taken whatever the registers' width, so that their order is one.
using lanes = vector<16>;

template <class V>
MILLRACE_INLINE V load(const float* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

/// As many numbers as V has lanes, widened.
template <class V, class Number>
MILLRACE_INLINE V load_widened(const Number* from) {
  if constexpr (std::is_same_v<Number, float>) {
    return load<V>(from);
  } else {
    constexpr int width = sizeof(V) / sizeof(float);
    typename vector_of<width>::ints wide;
    if constexpr (width >= 8) {
      // GCC 12 makes five instructions of __builtin_convertvector.
      asm("vpmovzxwd %1, %0" : "=v"(wide) : "m"(*reinterpret_cast<const Number(*)[width]>(from)));
    } else {
      typename vector_of<width>::halves upper;
      std::memcpy(&upper, from, sizeof upper);
      wide = __builtin_convertvector(upper, typename vector_of<width>::ints);
    }
    return std::bit_cast<V>(wide << 16);
  }
}

template <class V>
MILLRACE_INLINE void store(float* to, V v) {
  std::memcpy(to, &v, sizeof v);
}

/// x in every lane: a shuffle, which GCC makes one load of. V{} + x would stay an addition, since -0 + 0 is 0.
template <class V = lanes>
MILLRACE_INLINE V broadcast(float x) {
  return __builtin_shuffle(V{x}, typename vector_of<sizeof(V) / sizeof(float)>::ints{});
}

/// The first `count` floats; the other lanes get `fill`.
MILLRACE_INLINE lanes load_some(const float* from, int count, float fill) {
  lanes v = broadcast(fill);
  std::memcpy(&v, from, static_cast<std::size_t>(count) * sizeof(float));
  return v;
}

template <class V>
MILLRACE_INLINE V max(V a, V b) {
  return a > b ? a : b;
}

/// Sum of the lanes, one vector of 16 or several narrower ones, as a tree, always the same one.
template <class Lanes>
MILLRACE_INLINE float sum(const Lanes& v) {
  float x[16];
  static_assert(sizeof v == sizeof x);
  std::memcpy(x, &v, sizeof x);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      x[i] += x[i + half];
  return x[0];
}

template <class Lanes>
MILLRACE_INLINE float max(const Lanes& v) {
  float x[16];
  static_assert(sizeof v == sizeof x);
  std::memcpy(x, &v, sizeof x);
  float peak = x[0];
  for (int i = 1; i < 16; ++i)
    peak = x[i] > peak ? x[i] : peak;
  return peak;
}

/// e^x within 2 units in the last place for x <= 88; 0 below -87 (and for -inf), where e^x stops being normal.
template <class V>
MILLRACE_INLINE V exp(V x) {
  using ints = typename vector_of<sizeof(V) / sizeof(float)>::ints;
  constexpr float round = 0x1.8p23f; // adding and taking it away again rounds to a whole number
  const V bounded = x > -87.0f ? (x < 88.0f ? x : broadcast<V>(88.0f)) : broadcast<V>(-87.0f);
  const V shifted = bounded * 0x1.715476p0f + round;
  const V n = shifted - round;
  const V r = (bounded - n * 0x1.62e400p-1f) - n * 0x1.7f7d1cp-20f;
  V p = broadcast<V>(0x1.6850e4p-10f);
  p = p * r + 0x1.123bccp-7f;
  p = p * r + 0x1.555b98p-5f;
  p = p * r + 0x1.55548ep-3f;
  p = p * r + 0x1.fffff8p-2f;
  p = p * r * r + r + 1.0f;
  const ints scale = (std::bit_cast<ints>(shifted) << 23) + (127 << 23);
  return x > -87.0f ? p * std::bit_cast<V>(scale) : V{};
}

} // namespace millrace::kernels
