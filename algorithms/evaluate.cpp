#include "algorithms/evaluate.hpp"

#include "algorithms/value_loss.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace {

at::Tensor leaf(const at::Tensor& x) {
  return x.defined() ? x.detach().clone().requires_grad_() : at::Tensor();
}

/// The leaf's gradient; zeros where the loss does not depend on it.
at::Tensor gradient_of(const at::Tensor& x) {
  if (!x.defined())
    return {};
  return x.grad().defined() ? x.grad() : at::zeros_like(x).detach();
}

} // namespace

evaluation evaluate(const algorithm& row, const hyperparameter_values& values, const loss_options& options,
                    const evaluation_batch& batch, double value_clip) {
  step_columns step = batch.step;
  step.clamps = options.clamps;
  if (!step.old_logprob.defined())
    step.old_logprob = batch.logprob.detach();
  evaluation out;
  out.advantages = row.advantages(step, values);

  answer_columns answers;
  answers.logprob = leaf(batch.logprob);
  answers.old_logprob = step.old_logprob;
  answers.behaviour_logprob = step.behaviour_logprob;
  answers.ref_logprob = step.ref_logprob;
  answers.advantage = out.advantages;
  answers.length = step.length;
  answers.reward = step.reward;
  answers.group = step.group;
  const std::int64_t groups = step.group.numel() ? step.group.max().item<std::int64_t>() + 1 : 0;
  const at::Tensor tokens = at::zeros({groups}, step.length.options()).index_add_(0, step.group, step.length);
  answers.group_tokens = tokens.index_select(0, step.group);
  answers.entropy = batch.entropy;
  answers.score = leaf(batch.score);
  answers.version = batch.version;
  answers.policy_version = batch.policy_version;
  const step_totals totals{
      .tokens = step.length.sum().item<std::int64_t>(),
      .answers = step.length.gt(0).sum().item<std::int64_t>(),
      .groups = tokens.gt(0).sum().item<std::int64_t>(),
  };

  out.weights = correction_weights(options, answers);
  const at::Tensor loss = policy_loss(row, values, options, answers, totals, out.seen);
  if (batch.entropy.defined())
    out.seen.entropy = batch.entropy.sum().item<double>();
  out.loss = loss.item<double>();
  if (loss.requires_grad())
    loss.backward();
  out.gradient = gradient_of(answers.logprob);
  out.score_gradient = gradient_of(answers.score);

  if (row.returns && step.value.defined()) {
    out.returns = row.returns(step, values);
    const at::Tensor value = leaf(batch.value.defined() ? batch.value : step.value);
    value_diagnostics seen;
    const at::Tensor losses = value_loss(value, step.value, out.returns, value_clip, seen);
    const at::Tensor mean = aggregate(aggregation::token_mean, losses, step.length, answers.group_tokens, totals, 1);
    out.value_loss = mean.item<double>();
    mean.backward();
    out.value_gradient = gradient_of(value);
  }
  return out;
}

} // namespace millrace::algorithms
