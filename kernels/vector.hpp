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
  typedef std::int8_t bytes __attribute__((vector_size(width)));
};

template <int width>
using vector = typename vector_of<width>::type;

template <class V>
MILLRACE_INLINE V load(const float* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

/// As many numbers as V has lanes, widened: those of int8 without their scale.
template <class V, class Number>
MILLRACE_INLINE V load_widened(const Number* from) {
  constexpr int width = sizeof(V) / sizeof(float);
  if constexpr (std::is_same_v<Number, float>) {
    return load<V>(from);
  } else if constexpr (std::is_same_v<Number, std::int8_t>) {
    typename vector_of<width>::ints wide;
    if constexpr (width >= 8) {
      asm("vpmovsxbd %1, %0" : "=v"(wide) : "m"(*reinterpret_cast<const Number(*)[width]>(from)));
    } else {
      typename vector_of<width>::bytes narrow;
      std::memcpy(&narrow, from, sizeof narrow);
      wide = __builtin_convertvector(narrow, typename vector_of<width>::ints);
    }
    return __builtin_convertvector(wide, V);
  } else {
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
template <class V>
MILLRACE_INLINE V broadcast(float x) {
  return __builtin_shuffle(V{x}, typename vector_of<sizeof(V) / sizeof(float)>::ints{});
}

template <class V>
MILLRACE_INLINE V max(V a, V b) {
  return a > b ? a : b;
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

/// Sixteen floats in registers of `width`. Sums and maxima are taken in them, so that their order is one whatever the
/// registers are wide.
template <int width>
struct lanes {
  using V = vector<width>;
  static constexpr int parts = 16 / width;

  V part[parts];

  MILLRACE_INLINE static lanes all(float x) {
    lanes v;
#pragma GCC unroll 4
    for (V& p : v.part)
      p = broadcast<V>(x);
    return v;
  }

  MILLRACE_INLINE static lanes load(const float* from) {
    lanes v;
#pragma GCC unroll 4
    for (int i = 0; i < parts; ++i)
      v.part[i] = kernels::load<V>(from + i * width);
    return v;
  }

  /// The first `count` floats; the others are `fill`.
  MILLRACE_INLINE static lanes load_some(const float* from, std::int64_t count, float fill) {
    float x[16];
    for (int i = 0; i < 16; ++i)
      x[i] = i < count ? from[i] : fill;
    return load(x);
  }

  MILLRACE_INLINE void store(float* to) const {
#pragma GCC unroll 4
    for (int i = 0; i < parts; ++i)
      kernels::store(to + i * width, part[i]);
  }

  MILLRACE_INLINE lanes& operator+=(const lanes& other) {
#pragma GCC unroll 4
    for (int i = 0; i < parts; ++i)
      part[i] += other.part[i];
    return *this;
  }

  /// Each lane the larger of itself and that of `other`.
  MILLRACE_INLINE void raise(const lanes& other) {
#pragma GCC unroll 4
    for (int i = 0; i < parts; ++i)
      part[i] = kernels::max(part[i], other.part[i]);
  }

  /// As a tree, always the same one.
  MILLRACE_INLINE float sum() const {
    float x[16];
    store(x);
    for (int half = 8; half > 0; half /= 2)
      for (int i = 0; i < half; ++i)
        x[i] += x[i + half];
    return x[0];
  }

  MILLRACE_INLINE float max() const {
    float x[16];
    store(x);
    float peak = x[0];
    for (int i = 1; i < 16; ++i)
      peak = x[i] > peak ? x[i] : peak;
    return peak;
  }
};

} // namespace millrace::kernels
