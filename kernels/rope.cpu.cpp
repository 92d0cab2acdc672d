#include "kernels/rope.hpp"

#include "kernels/row_pieces.hpp"
#include "kernels/thread_team.hpp"
#include "kernels/vector.hpp"

#include <stdexcept>

namespace millrace::kernels {
namespace {

void check(const rope_args& a) {
  if (a.rows < 0 || a.heads < 1 || a.head_dim < 2 || a.head_dim % 2 != 0)
    throw std::invalid_argument("rope: need rows >= 0, heads >= 1 and an even head_dim >= 2");
}

template <int width>
MILLRACE_INLINE void rotate(float* head, const float* cos, const float* sin, std::int64_t half) {
  std::int64_t i = 0;
  for (; i + width <= half; i += width) {
    using V = vector<width>;
    const V a = load<V>(head + i), b = load<V>(head + half + i);
    const V c = load<V>(cos + i), s = load<V>(sin + i);
    store(head + i, a * c - b * s);
    store(head + half + i, b * c + a * s);
  }
  for (; i < half; ++i) {
    const float a = head[i], b = head[half + i];
    head[i] = a * cos[i] - b * sin[i];
    head[half + i] = b * cos[i] + a * sin[i];
  }
}

} // namespace

void rope_reference(const rope_args& a) {
  check(a);
  const std::int64_t half = a.head_dim / 2;
  for (std::int64_t r = 0; r < a.rows; ++r)
    for (std::int64_t h = 0; h < a.heads; ++h)
      for (std::int64_t i = 0; i < half; ++i) {
        float* head = a.x + (r * a.heads + h) * a.head_dim;
        const double c = a.cos[a.positions[r] * half + i], s = a.sin[a.positions[r] * half + i];
        const double x1 = head[i], x2 = head[half + i];
        head[i] = static_cast<float>(x1 * c - x2 * s);
        head[half + i] = static_cast<float>(x2 * c + x1 * s);
      }
}

void rope(const rope_args& a, thread_team& team) {
  check(a);
  const std::int64_t half = a.head_dim / 2;
  team.run(a.rows, rows_a_piece(a.heads * a.head_dim), [&](std::int64_t first, std::int64_t last) {
    with_instruction_set(
        team.instructions(), [&](auto width) __attribute__((always_inline)) {
          for (std::int64_t r = first; r < last; ++r)
            for (std::int64_t h = 0; h < a.heads; ++h)
              rotate<decltype(width)::value>(a.x + (r * a.heads + h) * a.head_dim, a.cos + a.positions[r] * half,
                                             a.sin + a.positions[r] * half, half);
        });
  });
}

} // namespace millrace::kernels
