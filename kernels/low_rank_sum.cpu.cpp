#include "kernels/low_rank_sum.hpp"

#include "kernels/vector.hpp"

#include <stdexcept>

namespace millrace::kernels {
namespace {

void check(const low_rank_sum_args& args) {
  if (args.rows < 0 || args.columns < 0 || args.rank < 0)
    throw std::invalid_argument("low_rank_sum: need rows, columns, rank >= 0");
}

float sum_number(const low_rank_sum_args& args, std::int64_t row, std::int64_t column) {
  double sum = args.w[row * args.columns + column];
  for (std::int64_t r = 0; r < args.rank; ++r)
    sum += static_cast<double>(args.b[row * args.rank + r]) * args.a[r * args.columns + column];
  return static_cast<float>(sum);
}

/// As many doubles as floats of half a register.
template <int width>
struct double_lanes {
  static constexpr int count = width / 2;
  typedef double type __attribute__((vector_size(count * sizeof(double))));
  typedef float narrow __attribute__((vector_size(count * sizeof(float))));
};

/// Four registers of sums.
template <int width>
MILLRACE_INLINE void sum_piece(const low_rank_sum_args& args, std::int64_t row, std::int64_t column) {
  using wide = typename double_lanes<width>::type;
  using narrow = typename double_lanes<width>::narrow;
  constexpr int count = double_lanes<width>::count, registers = 4;
  const auto widened = [](const float* from) __attribute__((always_inline)) {
    narrow x;
    std::memcpy(&x, from, sizeof x);
    return __builtin_convertvector(x, wide);
  };
  const std::int64_t at = row * args.columns + column;
  wide sum[registers];
#pragma GCC unroll 4
  for (int i = 0; i < registers; ++i)
    sum[i] = widened(args.w + at + i * count);
  for (std::int64_t r = 0; r < args.rank; ++r) {
    const double b = args.b[row * args.rank + r];
#pragma GCC unroll 4
    for (int i = 0; i < registers; ++i)
      sum[i] += b * widened(args.a + r * args.columns + column + i * count);
  }
#pragma GCC unroll 4
  for (int i = 0; i < registers; ++i) {
    const narrow rounded = __builtin_convertvector(sum[i], narrow);
    std::memcpy(args.y + at + i * count, &rounded, sizeof rounded);
  }
}

} // namespace

void low_rank_sum_reference(const low_rank_sum_args& args) {
  check(args);
  for (std::int64_t row = 0; row < args.rows; ++row)
    for (std::int64_t column = 0; column < args.columns; ++column)
      args.y[row * args.columns + column] = sum_number(args, row, column);
}

void low_rank_sum(const low_rank_sum_args& args, instruction_set instructions) {
  check(args);
  with_instruction_set(
      instructions, [&](auto width) __attribute__((always_inline)) {
        for (std::int64_t row = 0; row < args.rows; ++row) {
          std::int64_t column = 0;
          for (; column + 2 * width <= args.columns; column += 2 * width)
            sum_piece<width>(args, row, column);
          for (; column < args.columns; ++column)
            args.y[row * args.columns + column] = sum_number(args, row, column);
        }
      });
}

} // namespace millrace::kernels
