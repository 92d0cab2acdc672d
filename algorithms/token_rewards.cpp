#include "algorithms/token_rewards.hpp"

#include "algorithms/gae.hpp"
#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

#include <array>

namespace millrace::algorithms {
namespace {

/// The figure of each answer at its last token, 0 at the others.
at::Tensor at_last_token(const at::Tensor& per_answer, const at::Tensor& length) {
  const at::Tensor answered = length.gt(0);
  const at::Tensor last = (length.cumsum(0) - 1).masked_select(answered);
  return at::zeros({length.sum().item<std::int64_t>()}, per_answer.options())
      .index_put_({last}, per_answer.masked_select(answered));
}

kl_estimator estimator_of(const hyperparameter_values& values) {
  constexpr std::array by_number{kl_estimator::k1, kl_estimator::k2, kl_estimator::k3};
  return by_number[static_cast<std::size_t>(values.get("kl_in_reward_estimator")) - 1];
}

kl_form form_of(const hyperparameter_values& values) {
  return static_cast<kl_form>(static_cast<int>(values.get("kl_in_reward_form")));
}

} // namespace

at::Tensor clipped_reward(const step_columns& step, const hyperparameter_values& values) {
  const double clip = values.get("reward_clip");
  return clip > 0 ? step.reward.detach().clamp(-clip, clip) : step.reward.detach();
}

at::Tensor token_penalties(const step_columns& step, const hyperparameter_values& values) {
  const double coefficient = values.get("kl_in_reward");
  if (coefficient == 0)
    return at::zeros({step.length.sum().item<std::int64_t>()}, step.reward.options());
  TORCH_CHECK(step.ref_logprob.defined(), "ref_logprob: missing, and kl_in_reward needs it");
  const auto exact = [&](const at::Tensor& x) { return x.detach().to(step.reward.scalar_type()); };
  return coefficient
         * kl_term(estimator_of(values), exact(step.behaviour_logprob), exact(step.ref_logprob), step.clamps);
}

at::Tensor token_rewards(const step_columns& step, const hyperparameter_values& values) {
  return at_last_token(clipped_reward(step, values), step.length) - token_penalties(step, values);
}

at::Tensor shaped_reward(const step_columns& step, const hyperparameter_values& values) {
  const at::Tensor reward = clipped_reward(step, values);
  return form_of(values) == kl_form::answer ? reward - sum_by_answer(token_penalties(step, values), step.length)
                                            : reward;
}

at::Tensor charge_tokens(const at::Tensor& per_answer, const step_columns& step, const hyperparameter_values& values,
                         double gamma) {
  const at::Tensor worth = gamma == 1 ? spread_over_tokens(per_answer, step.length)
                                      : return_to_go(at_last_token(per_answer, step.length), step.length, gamma);
  switch (form_of(values)) {
  case kl_form::answer:
    return worth;
  case kl_form::to_go:
    return worth - return_to_go(token_penalties(step, values), step.length, gamma);
  case kl_form::own:
    return worth - token_penalties(step, values);
  }
  return worth;
}

at::Tensor return_to_go(const at::Tensor& per_token, const at::Tensor& length, double gamma) {
  return generalised_advantages(per_token, at::zeros_like(per_token), length, gamma, 1).returns;
}

} // namespace millrace::algorithms
