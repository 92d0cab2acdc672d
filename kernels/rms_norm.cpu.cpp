#include "kernels/rms_norm.hpp"

#include "kernels/row_pieces.hpp"
#include "kernels/thread_team.hpp"
#include "kernels/vector.hpp"

#include <cmath>
#include <stdexcept>

namespace millrace::kernels {
namespace {

void check(const rms_norm_args& a) {
  if (a.rows < 0 || a.width < 1)
    throw std::invalid_argument("rms_norm: need rows >= 0, width >= 1");
}

template <int width>
MILLRACE_INLINE void norm_row(const float* x, const float* weight, float* y, std::int64_t count, float eps) {
  lanes<width> squares{};
  const auto add = [&](const lanes<width>& v) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int i = 0; i < v.parts; ++i)
      squares.part[i] += v.part[i] * v.part[i];
  };
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16)
    add(lanes<width>::load(x + i));
  if (i < count)
    add(lanes<width>::load_some(x + i, count - i, 0.0f));
  const float scale = 1.0f / std::sqrt(squares.sum() / static_cast<float>(count) + eps);
  for (i = 0; i + width <= count; i += width)
    store(y + i, load<vector<width>>(x + i) * scale * load<vector<width>>(weight + i));
  for (; i < count; ++i)
    y[i] = x[i] * scale * weight[i];
}

} // namespace

void rms_norm_reference(const rms_norm_args& a) {
  check(a);
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const float* x = a.x + r * a.width;
    double squares = 0;
    for (std::int64_t i = 0; i < a.width; ++i)
      squares += static_cast<double>(x[i]) * x[i];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(a.width) + a.eps);
    for (std::int64_t i = 0; i < a.width; ++i)
      a.y[r * a.width + i] = static_cast<float>(x[i] * scale * a.weight[i]);
  }
}

void rms_norm(const rms_norm_args& a, thread_team& team) {
  check(a);
  team.run(a.rows, rows_a_piece(a.width), [&](std::int64_t first, std::int64_t last) {
    with_instruction_set(
        team.instructions(), [&](auto width) __attribute__((always_inline)) {
          for (std::int64_t r = first; r < last; ++r)
            norm_row<decltype(width)::value>(a.x + r * a.width, a.weight, a.y + r * a.width, a.width, a.eps);
        });
  });
}

} // namespace millrace::kernels
