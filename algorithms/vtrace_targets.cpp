#include "algorithms/vtrace_targets.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace millrace::algorithms {

vtrace_targets trace_values(const at::Tensor& log_ratio, const at::Tensor& token_reward, const at::Tensor& value,
                            const at::Tensor& length, double gamma, const vtrace_bounds& bounds) {
  TORCH_CHECK(token_reward.dim() == 1 && value.sizes() == token_reward.sizes(), "value: want ", token_reward.sizes(),
              ", got ", value.sizes());
  TORCH_CHECK(log_ratio.sizes() == token_reward.sizes(), "log_ratio: want ", token_reward.sizes(), ", got ",
              log_ratio.sizes());
  TORCH_CHECK(length.sum().item<std::int64_t>() == token_reward.numel(), "length: want a sum of ", token_reward.numel(),
              ", got ", length.sum().item<std::int64_t>());
  const auto on_cpu = [](const at::Tensor& x, at::ScalarType type) {
    return x.detach().to(at::kCPU, type).contiguous();
  };
  const at::Tensor d = on_cpu(log_ratio, at::kDouble), r = on_cpu(token_reward, at::kDouble),
                   v = on_cpu(value, at::kDouble), lengths = on_cpu(length, at::kLong), targets = at::empty_like(r),
                   advantages = at::empty_like(r);
  const double *d_at = d.const_data_ptr<double>(), *r_at = r.const_data_ptr<double>(),
               *v_at = v.const_data_ptr<double>();
  double *target_at = targets.mutable_data_ptr<double>(), *advantage_at = advantages.mutable_data_ptr<double>();
  std::int64_t begin = 0;
  for (std::int64_t i = 0; i < lengths.numel(); begin += lengths.const_data_ptr<std::int64_t>()[i++]) {
    double next_value = 0, next_target = 0;
    for (std::int64_t t = begin + lengths.const_data_ptr<std::int64_t>()[i] - 1; t >= begin; --t) {
      const double w = std::exp(std::clamp(d_at[t], -20.0, 20.0));
      advantage_at[t] = std::min(bounds.pg_rho, w) * (r_at[t] + gamma * next_target - v_at[t]);
      target_at[t] = v_at[t] + std::min(bounds.rho, w) * (r_at[t] + gamma * next_value - v_at[t])
                     + gamma * std::min(bounds.c, w) * (next_target - next_value);
      next_value = v_at[t];
      next_target = target_at[t];
    }
  }
  const auto back = [&](const at::Tensor& x) { return x.to(token_reward.device(), token_reward.scalar_type()); };
  return {back(targets), back(advantages)};
}

} // namespace millrace::algorithms
