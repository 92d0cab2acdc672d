#pragma once

#include <cstdint>

namespace millrace {

/// The step between two states of splitmix64: 2^64 over the golden ratio, odd.
inline constexpr std::uint64_t golden_step = 0x9e3779b97f4a7c15u;

/// The finalizer of splitmix64: every bit of `x` moves every bit of the result. 0 stays 0.
///
/// Source: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators, section 5.
constexpr std::uint64_t mix_bits(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// One number of splitmix64 from the state `x`: a good word out of any counter.
constexpr std::uint64_t splitmix64(std::uint64_t x) {
  return mix_bits(x + golden_step);
}

} // namespace millrace
