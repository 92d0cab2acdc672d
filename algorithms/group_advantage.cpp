#include "algorithms/group_advantage.hpp"

#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace {

struct others {
  at::Tensor mean, deviation; ///< [A] 0 where there are none
};

/// Of the n - 1 others of a group with mean m and sum of squares S = sum (R - m)^2: their mean is b = m - d / (n - 1)
/// for d = R_i - m, the sum of their squares about b is S - d^2 n / (n - 1).
others without_oneself(const at::Tensor& reward, const group_statistics& s) {
  const at::Tensor d = reward - s.mean, rest = (s.size - 1).clamp_min(1);
  const at::Tensor squares = s.deviation.square() * rest - d.square() * s.size / rest;
  const at::Tensor tiny = s.deviation.square() * 1e-12;
  return {s.mean - d / rest, at::where(squares.gt(tiny), squares, 0).div((s.size - 2).clamp_min(1)).sqrt()};
}

} // namespace

at::Tensor group_advantages(const at::Tensor& reward, const at::Tensor& group, const hyperparameter_values& values) {
  const group_statistics s = statistics_by_group(reward, group);
  const at::Tensor r = reward.detach();
  if (r.numel() == 0)
    return r;
  const bool alone = values.on("leave_one_out");
  const others rest = alone ? without_oneself(r, s) : others{s.mean, s.deviation};
  const at::Tensor a = r - rest.mean;
  const auto scaled = [&]() -> at::Tensor {
    const double eps = values.get("eps");
    if (values.get("normalise") == 0)
      return a;
    if (values.get("normalise") == 2)
      return r.numel() > 1 ? a / (r.std(0, /*unbiased=*/true) + eps) : a;
    return at::where(alone ? rest.deviation.eq(0) : at::zeros_like(s.equal), a, a / (rest.deviation + eps));
  };
  return scaled().masked_fill(s.equal, 0);
}

at::Tensor group_advantages_at_tokens(const step_columns& step, const hyperparameter_values& values) {
  return spread_over_tokens(group_advantages(step.reward, step.group, values), step.length);
}

} // namespace millrace::algorithms
