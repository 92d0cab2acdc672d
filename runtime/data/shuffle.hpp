#pragma once

#include <cstdint>
#include <vector>

namespace millrace::data {

/// 64 mixed bits, a pure function of (seed, index).
///
/// Source: splitmix64, Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", output function.
std::uint64_t drawn(std::uint64_t seed, std::uint64_t index);

/// The same, in [0, bound); bound >= 1. Multiplied down: no value is more likely than another by more than bound /
/// 2^64.
std::uint64_t drawn_below(std::uint64_t seed, std::uint64_t index, std::uint64_t bound);

/// The numbers 0 to count - 1 in an order that is a pure function of (seed, epoch, count).
///
/// Source: Fisher and Yates, as in Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2P.
std::vector<std::uint64_t> shuffled(std::uint64_t count, std::uint64_t seed, std::uint64_t epoch);

} // namespace millrace::data
