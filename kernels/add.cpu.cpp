#include "kernels/add.hpp"

#include "kernels/thread_team.hpp"

namespace millrace::kernels {

void add(float* y, const float* x, std::int64_t count, thread_team& team) {
  constexpr std::int64_t piece = 16384;
  team.run(count, piece, [&](std::int64_t first, std::int64_t last) {
    with_instruction_set(
        team.instructions(), [&](auto) __attribute__((always_inline)) {
          for (std::int64_t i = first; i < last; ++i)
            y[i] += x[i];
        });
  });
}

} // namespace millrace::kernels
