#include "kernels/swiglu.hpp"

#include "kernels/thread_team.hpp"
#include "kernels/vector.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace millrace::kernels {
namespace {

void check(const swiglu_args& a) {
  if (a.count < 0)
    throw std::invalid_argument("swiglu: need count >= 0");
}

// Clamped so that the exponential stays finite: silu(-88) is 0 to the last place of anything it is added to.
MILLRACE_INLINE lanes gated(lanes gate, lanes up) {
  const lanes bounded = max(gate, broadcast(-88.0f));
  return gate / (1.0f + exp(-bounded)) * up;
}

} // namespace

void swiglu_reference(const swiglu_args& a) {
  check(a);
  for (std::int64_t i = 0; i < a.count; ++i)
    a.y[i] = static_cast<float>(a.gate[i] / (1 + std::exp(-static_cast<double>(a.gate[i]))) * a.up[i]);
}

void swiglu(const swiglu_args& a, thread_team& team) {
  check(a);
  constexpr std::int64_t piece = 4096;
  team.run(a.count, piece, [&](std::int64_t first, std::int64_t last) {
    with_instruction_set(
        team.instructions(), [&](auto) __attribute__((always_inline)) {
          std::int64_t i = first;
          for (; i + 16 <= last; i += 16)
            store(a.y + i, gated(load<lanes>(a.gate + i), load<lanes>(a.up + i)));
          if (i < last) {
            const int rest = static_cast<int>(last - i);
            const lanes y = gated(load_some(a.gate + i, rest, 0.0f), load_some(a.up + i, rest, 0.0f));
            std::memcpy(a.y + i, &y, static_cast<std::size_t>(rest) * sizeof(float));
          }
        });
  });
}

} // namespace millrace::kernels
