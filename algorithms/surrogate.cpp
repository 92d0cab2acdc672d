#include "algorithms/surrogate.hpp"

#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {

at::Tensor clipped_surrogate(const at::Tensor& logprob, const at::Tensor& old, const at::Tensor& advantage,
                             double clip_low, double clip_high, double dual_clip, diagnostics& found) {
  TORCH_CHECK(logprob.sizes() == old.sizes() && logprob.sizes() == advantage.sizes(), "surrogate: want one shape, got ",
              logprob.sizes(), ", ", old.sizes(), " and ", advantage.sizes());
  return clipped_surrogate_at((logprob - old.detach()).clamp(-20, 20).exp(), advantage, clip_low, clip_high, dual_clip,
                              found);
}

at::Tensor clipped_surrogate_at(const at::Tensor& ratio, const at::Tensor& advantage, double clip_low, double clip_high,
                                double dual_clip, diagnostics& found) {
  const at::Tensor a = advantage.detach();
  const at::Tensor free = -ratio * a;
  const at::Tensor bound = -ratio.clamp(1 - clip_low, 1 + clip_high) * a;
  at::Tensor loss = at::maximum(free, bound);
  at::Tensor cut = bound.detach().gt(free.detach());
  if (dual_clip > 0) {
    const at::Tensor worst = -dual_clip * a;
    const at::Tensor beyond = at::logical_and(a.lt(0), loss.detach().gt(worst));
    loss = at::where(beyond, worst, loss);
    cut = at::logical_or(cut, beyond);
  }
  found.count_clipped(cut);
  return loss;
}

at::Tensor answer_log_ratio(const at::Tensor& logprob, const at::Tensor& old, const at::Tensor& length,
                            answer_ratio how) {
  const at::Tensor ratio = logprob - old.detach();
  const at::Tensor whole = how == answer_ratio::mean ? mean_by_answer(ratio, length) : sum_by_answer(ratio, length);
  return spread_over_tokens(whole.clamp(-20, 20), length);
}

} // namespace millrace::algorithms
