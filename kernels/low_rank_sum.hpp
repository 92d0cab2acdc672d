#pragma once

#include "kernels/instruction_set.hpp"

#include <cstdint>

namespace millrace::kernels {

/// y = w + b a, each number on its own: from w on, one term of b a after another is added in double, and the sum is
/// rounded once. In double a product of two floats is exact. So the bits depend on no instruction set, no thread and no
/// neighbour, and whoever adds in that order has them.
struct low_rank_sum_args {
  const float* w;       ///< [rows, columns]
  const float* b;       ///< [rows, rank]
  const float* a;       ///< [rank, columns]
  float* y;             ///< [rows, columns] output; may be w
  std::int64_t rows;    ///< >= 0
  std::int64_t columns; ///< >= 0
  std::int64_t rank;    ///< >= 0
};

/// The definition, number by number. @throws std::invalid_argument for a negative size
void low_rank_sum_reference(const low_rank_sum_args& args);

/// The same bits, on the calling thread. @throws as the reference
void low_rank_sum(const low_rank_sum_args& args, instruction_set instructions = best_instruction_set());

} // namespace millrace::kernels
