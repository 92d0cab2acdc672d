#include "algorithms/surrogate.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {

at::Tensor clipped_surrogate(const at::Tensor& logprob, const at::Tensor& old, const at::Tensor& advantage, double clip_low,
                             double clip_high, double dual_clip, diagnostics& found) {
  TORCH_CHECK(logprob.sizes() == old.sizes() && logprob.sizes() == advantage.sizes(), "surrogate: want one shape, got ",
              logprob.sizes(), ", ", old.sizes(), " and ", advantage.sizes());
  const at::Tensor a = advantage.detach();
  const at::Tensor ratio = (logprob - old.detach()).clamp(-20, 20).exp();
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
  found.clipped += cut.sum().item<std::int64_t>();
  return loss;
}

} // namespace millrace::algorithms
