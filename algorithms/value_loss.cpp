#include "algorithms/value_loss.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {

value_diagnostics& value_diagnostics::operator+=(const value_diagnostics& other) {
  tokens += other.tokens;
  clipped += other.clipped;
  squared_error += other.squared_error;
  returns += other.returns;
  returns_squared += other.returns_squared;
  return *this;
}

double value_diagnostics::explained_variance() const {
  if (tokens == 0)
    return 0;
  const double n = static_cast<double>(tokens), variance = returns_squared / n - returns / n * (returns / n);
  return variance > 0 ? 1 - squared_error / n / variance : 0;
}

at::Tensor value_loss(const at::Tensor& value, const at::Tensor& old_value, const at::Tensor& returns, double clip,
                      value_diagnostics& found) {
  TORCH_CHECK(old_value.sizes() == value.sizes() && returns.sizes() == value.sizes(), "value: want one shape, got ",
              value.sizes(), ", ", old_value.sizes(), " and ", returns.sizes());
  const at::Tensor target = returns.detach();
  const at::Tensor free = (value - target).square();
  const auto total = [](const at::Tensor& x) { return x.sum(at::kDouble).item<double>(); };
  found.tokens += value.numel();
  found.squared_error += total(free.detach());
  found.returns += total(target);
  found.returns_squared += total(target.to(at::kDouble).square());
  if (clip <= 0)
    return free / 2;
  const at::Tensor old = old_value.detach();
  const at::Tensor bound = (old + (value - old).clamp(-clip, clip) - target).square();
  found.clipped += bound.detach().gt(free.detach()).sum().item<std::int64_t>();
  return at::maximum(free, bound) / 2;
}

} // namespace millrace::algorithms
