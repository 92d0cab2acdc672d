#include "algorithms/kl.hpp"

#include <ATen/ATen.h>

#include <stdexcept>
#include <string>

namespace millrace::algorithms {

at::Tensor kl_term(kl_estimator estimator, const at::Tensor& logprob, const at::Tensor& ref_logprob) {
  TORCH_CHECK(logprob.sizes() == ref_logprob.sizes(), "ref_logprob: want ", logprob.sizes(), ", got ", ref_logprob.sizes());
  const at::Tensor d = ref_logprob.detach() - logprob;
  switch (estimator) {
  case kl_estimator::k1:
    return -d;
  case kl_estimator::k2:
    return d.square() / 2;
  case kl_estimator::k3: {
    const at::Tensor bounded = d.clamp(-20, 20);
    return bounded.exp() - bounded - 1;
  }
  }
  throw std::invalid_argument("KL estimator: not one of k1, k2, k3");
}

kl_estimator kl_estimator_named(std::string_view name) {
  if (name == "k1")
    return kl_estimator::k1;
  if (name == "k2")
    return kl_estimator::k2;
  if (name == "k3")
    return kl_estimator::k3;
  throw std::invalid_argument("KL estimator '" + std::string(name) + "': unknown, want k1, k2 or k3");
}

} // namespace millrace::algorithms
