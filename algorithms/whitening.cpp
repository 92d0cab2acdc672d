#include "algorithms/whitening.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {

at::Tensor whiten(const at::Tensor& x, const hyperparameter_values& values) {
  const auto how = static_cast<whitening>(static_cast<int>(values.get("whitening")));
  if (how == whitening::off || x.numel() == 0)
    return x;
  if (x.max().equal(x.min()))
    return at::zeros_like(x);
  return (x - x.mean()) / (x.var(0, how == whitening::unbiased) + values.get("eps")).sqrt();
}

} // namespace millrace::algorithms
