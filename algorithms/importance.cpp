#include "algorithms/importance.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {

at::Tensor truncated_importance_weight(const at::Tensor& old, const at::Tensor& behaviour, double cap) {
  TORCH_CHECK(old.sizes() == behaviour.sizes(), "behaviour_logprob: want ", old.sizes(), ", got ", behaviour.sizes());
  TORCH_CHECK(cap >= 0, "importance cap: want >= 0, got ", cap);
  if (cap == 0)
    return at::ones_like(old).detach();
  return (old.detach() - behaviour.detach()).clamp_(-20, 20).exp_().clamp_max_(cap);
}

} // namespace millrace::algorithms
