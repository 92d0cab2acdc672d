#include "kernels/swiglu.hpp"

#include "kernels/thread_team.hpp"
#include "kernels/vector.hpp"

#include <cmath>
#include <stdexcept>

namespace millrace::kernels {
namespace {

void check(const swiglu_args& a) {
  if (a.count < 0)
    throw std::invalid_argument("swiglu: need count >= 0");
}

// Clamped so that the exponential stays finite: silu(-88) is 0 to the last place of anything it is added to.
template <class V>
MILLRACE_INLINE V gated(V gate, V up) {
  const V bounded = max(gate, broadcast<V>(-88.0f));
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
        team.instructions(), [&](auto width) __attribute__((always_inline)) {
          using V = vector<decltype(width)::value>;
          std::int64_t i = first;
          for (; i + width <= last; i += width)
            store(a.y + i, gated(load<V>(a.gate + i), load<V>(a.up + i)));
          for (; i < last; ++i)
            a.y[i] = gated(broadcast<V>(a.gate[i]), broadcast<V>(a.up[i]))[0];
        });
  });
}

} // namespace millrace::kernels
