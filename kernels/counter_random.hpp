#pragma once

#include <cstdint>

namespace millrace::kernels {

/// A uniform number in [0, 1) that is a pure function of its place: no state, so that a draw depends neither on what
/// was drawn before nor on who else draws. 53 random bits.
///
/// Philox 4x32-10 with the key `seed` and the counter (stream, index).
/// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", SC'11.
double uniform(std::uint64_t seed, std::uint64_t stream, std::uint64_t index);

} // namespace millrace::kernels
