#include "algorithms/gae.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {

gae generalised_advantages(const at::Tensor& token_reward, const at::Tensor& value, const at::Tensor& length,
                           double gamma, const at::Tensor& lambda) {
  TORCH_CHECK(token_reward.dim() == 1 && value.sizes() == token_reward.sizes(), "value: want ", token_reward.sizes(),
              ", got ", value.sizes());
  TORCH_CHECK(lambda.sizes() == length.sizes(), "lambda: want ", length.sizes(), ", got ", lambda.sizes());
  TORCH_CHECK(length.sum().item<std::int64_t>() == token_reward.numel(), "length: want a sum of ", token_reward.numel(),
              ", got ", length.sum().item<std::int64_t>());
  const auto on_cpu = [](const at::Tensor& x, at::ScalarType type) {
    return x.detach().to(at::kCPU, type).contiguous();
  };
  const at::Tensor r = on_cpu(token_reward, at::kDouble), v = on_cpu(value, at::kDouble),
                   per_answer = on_cpu(lambda, at::kDouble), lengths = on_cpu(length, at::kLong),
                   advantages = at::empty_like(r);
  const double* reward_at = r.const_data_ptr<double>();
  const double* value_at = v.const_data_ptr<double>();
  const double* lambda_of = per_answer.const_data_ptr<double>();
  const std::int64_t* tokens_of = lengths.const_data_ptr<std::int64_t>();
  double* out = advantages.mutable_data_ptr<double>();
  std::int64_t begin = 0;
  for (std::int64_t i = 0; i < lengths.numel(); begin += tokens_of[i++]) {
    double next_value = 0, next_advantage = 0;
    for (std::int64_t t = begin + tokens_of[i] - 1; t >= begin; --t) {
      next_advantage = reward_at[t] + gamma * next_value - value_at[t] + gamma * lambda_of[i] * next_advantage;
      next_value = value_at[t];
      out[t] = next_advantage;
    }
  }
  const auto back = [&](const at::Tensor& x) { return x.to(token_reward.device(), token_reward.scalar_type()); };
  return {back(advantages), back(advantages + v)};
}

gae generalised_advantages(const at::Tensor& token_reward, const at::Tensor& value, const at::Tensor& length,
                           double gamma, double lambda) {
  return generalised_advantages(token_reward, value, length, gamma, at::full(length.sizes(), lambda, at::kDouble));
}

at::Tensor length_adaptive_lambda(const at::Tensor& length, double alpha) {
  TORCH_CHECK(alpha > 0, "alpha: want > 0, got ", alpha);
  return 1 - (alpha * length.to(at::kDouble)).clamp_min(1).reciprocal();
}

} // namespace millrace::algorithms
