#pragma once

#include "kernels/instruction_set.hpp"

#include <cstdint>
#include <random>
#include <vector>

namespace millrace::test {

inline std::vector<float> random_floats(std::int64_t count, unsigned seed, float scale = 1.0f) {
  std::mt19937 rng{seed};
  std::normal_distribution<float> normal{0.0f, scale};
  std::vector<float> values(static_cast<std::size_t>(count));
  for (auto& v : values)
    v = normal(rng);
  return values;
}

/// The versions of a kernel that this machine can run.
inline std::vector<kernels::instruction_set> instruction_sets_here() {
  using enum kernels::instruction_set;
  std::vector<kernels::instruction_set> sets{portable};
  for (const auto wider : {avx2, avx512, avx512vnni})
    if (kernels::best_instruction_set() >= wider)
      sets.push_back(wider);
  return sets;
}

} // namespace millrace::test
