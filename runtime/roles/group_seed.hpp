#pragma once

#include "runtime/words/ids.hpp"
#include "runtime/words/mix_bits.hpp"

#include <cstdint>

namespace millrace::roles {

/// The seed that a group's answers are drawn from, the same at every attempt.
constexpr std::uint64_t group_seed(std::uint64_t run_seed, group_id group) {
  return splitmix64(splitmix64(run_seed) ^ group);
}

} // namespace millrace::roles
