#include "algorithms/preference_pairs.hpp"

#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

#include <vector>

namespace millrace::algorithms {

preference_pairs pairs_of(const at::Tensor& reward, const at::Tensor& group) {
  TORCH_CHECK(reward.dim() == 1 && reward.is_floating_point(), "reward: want [A] floating point, got ", reward.sizes(),
              " ", reward.scalar_type());
  TORCH_CHECK(group.sizes() == reward.sizes(), "group: want ", reward.sizes(), ", got ", group.sizes());
  const at::Tensor rewards = reward.detach().to(at::kCPU, at::kDouble).contiguous();
  const at::Tensor groups = group.to(at::kCPU, at::kLong).contiguous();
  const double* r = rewards.const_data_ptr<double>();
  const std::int64_t* g = groups.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> chosen, rejected;
  std::vector<double> weight;
  for (std::int64_t begin = 0, end = 0; begin < rewards.numel(); begin = end) {
    const std::size_t before = chosen.size();
    while (end < rewards.numel() && g[end] == g[begin])
      ++end;
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t j = begin; j < end; ++j)
        if (r[i] > r[j]) {
          chosen.push_back(i);
          rejected.push_back(j);
        }
    const std::size_t pairs = chosen.size() - before;
    weight.insert(weight.end(), pairs, 1 / static_cast<double>(pairs));
  }
  return {at::tensor(chosen, at::kLong).to(reward.device()), at::tensor(rejected, at::kLong).to(reward.device()),
          at::tensor(weight, at::kDouble).to(reward.device(), reward.scalar_type())};
}

at::Tensor pair_advantages(const step_columns& step, const hyperparameter_values&) {
  return spread_over_tokens(
      statistics_by_group(step.reward, step.group).equal.logical_not().to(step.reward.scalar_type()), step.length);
}

at::Tensor pair_losses_at_tokens(const at::Tensor& losses, const preference_pairs& pairs, const at::Tensor& group,
                                 const at::Tensor& length) {
  const at::Tensor number = numbered_groups(group);
  const std::int64_t groups = number.numel() ? number.max().item<std::int64_t>() + 1 : 0;
  const at::Tensor by_group =
      at::zeros({groups}, losses.options())
          .index_add(0, number.index_select(0, pairs.chosen), losses * pairs.weight.to(losses.scalar_type()));
  return spread_over_tokens(by_group.index_select(0, number), length);
}

} // namespace millrace::algorithms
