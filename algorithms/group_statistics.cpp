#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

#include <tuple>

namespace millrace::algorithms {

group_statistics statistics_by_group(const at::Tensor& reward, const at::Tensor& group) {
  TORCH_CHECK(reward.dim() == 1 && reward.is_floating_point(), "reward: want [A] floating point, got ", reward.sizes(),
              " ", reward.scalar_type());
  TORCH_CHECK(group.sizes() == reward.sizes(), "group: want ", reward.sizes(), ", got ", group.sizes());
  const at::Tensor r = reward.detach();
  if (r.numel() == 0)
    return {.size = r, .mean = r, .deviation = r, .equal = r.to(at::kBool)};
  const std::int64_t groups = group.max().item<std::int64_t>() + 1;
  const auto sum_by_group = [&](const at::Tensor& x) {
    return at::zeros({groups}, x.options()).index_add_(0, group, x).index_select(0, group);
  };
  const auto extreme = [&](const char* which) {
    return at::zeros({groups}, r.options())
        .scatter_reduce(0, group, r, which, /*include_self=*/false)
        .index_select(0, group);
  };
  group_statistics s;
  s.size = sum_by_group(at::ones_like(r));
  s.mean = sum_by_group(r) / s.size;
  s.deviation = (sum_by_group((r - s.mean).square()) / (s.size - 1).clamp_min(1)).sqrt();
  s.equal = extreme("amax").eq(extreme("amin"));
  return s;
}

at::Tensor spread_over_tokens(const at::Tensor& per_answer, const at::Tensor& length) {
  return per_answer.repeat_interleave(length);
}

at::Tensor sum_by_answer(const at::Tensor& per_token, const at::Tensor& length) {
  const at::Tensor answer = at::arange(length.numel(), length.options()).repeat_interleave(length);
  return at::zeros(length.sizes(), per_token.options()).index_add(0, answer, per_token);
}

at::Tensor mean_by_answer(const at::Tensor& per_token, const at::Tensor& length) {
  return sum_by_answer(per_token, length) / length.clamp_min(1).to(per_token.scalar_type());
}

at::Tensor numbered_groups(const at::Tensor& group) {
  return group.numel() ? std::get<1>(at::unique_consecutive(group, /*return_inverse=*/true)) : group;
}

} // namespace millrace::algorithms
