#include "kernels/token_logprob.hpp"

#include "kernels/softmax_row.hpp"
#include "kernels/thread_team.hpp"

#include <stdexcept>

namespace millrace::kernels {
namespace {

void check(const token_logprob_args& a) {
  if (a.tokens < 0 || a.vocab < 1 || !(a.temperature > 0))
    throw std::invalid_argument("token_logprob: need tokens >= 0, vocab >= 1, temperature > 0");
}

} // namespace

void token_logprob_reference(const token_logprob_args& a) {
  check(a);
  for (std::int64_t t = 0; t < a.tokens; ++t) {
    if (a.targets[t] == ignore_token) {
      a.logprob[t] = 0.0f;
      continue;
    }
    const float* row = a.logits + t * a.vocab;
    const double peak = *std::max_element(row, row + a.vocab);
    double total = 0;
    for (std::int64_t v = 0; v < a.vocab; ++v)
      total += std::exp((row[v] - peak) / a.temperature);
    a.logprob[t] = static_cast<float>((row[a.targets[t]] - peak) / a.temperature - std::log(total));
  }
}

void token_logprob(const token_logprob_args& a, thread_team& team) {
  check(a);
  const float inverse = 1.0f / a.temperature;
  team.run(a.tokens, 1, [&](std::int64_t first, std::int64_t last) {
    with_instruction_set(
        team.instructions(), [&](auto w) __attribute__((always_inline)) {
          constexpr int width = decltype(w)::value;
          for (std::int64_t t = first; t < last; ++t) {
            if (a.targets[t] == ignore_token) {
              a.logprob[t] = 0.0f;
              continue;
            }
            const float* row = a.logits + t * a.vocab;
            const float peak = row_peak<width>(row, a.vocab);
            a.logprob[t] = logprob_of(row[a.targets[t]], peak, inverse, row_weight<width>(row, a.vocab, peak, inverse));
          }
        });
  });
}

} // namespace millrace::kernels
