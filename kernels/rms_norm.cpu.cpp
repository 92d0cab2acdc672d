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

MILLRACE_INLINE void norm_row(const float* x, const float* weight, float* y, std::int64_t width, float eps) {
  lanes squares{};
  std::int64_t i = 0;
  for (; i + 16 <= width; i += 16) {
    const lanes v = load<lanes>(x + i);
    squares += v * v;
  }
  if (i < width) {
    const lanes v = load_some(x + i, static_cast<int>(width - i), 0.0f);
    squares += v * v;
  }
  const float scale = 1.0f / std::sqrt(sum(squares) / static_cast<float>(width) + eps);
  for (i = 0; i + 16 <= width; i += 16)
    store(y + i, load<lanes>(x + i) * scale * load<lanes>(weight + i));
  for (; i < width; ++i)
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
        team.instructions(), [&](auto) __attribute__((always_inline)) {
          for (std::int64_t r = first; r < last; ++r)
            norm_row(a.x + r * a.width, a.weight, a.y + r * a.width, a.width, a.eps);
        });
  });
}

} // namespace millrace::kernels
