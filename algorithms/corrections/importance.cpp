#include "algorithms/corrections/importance.hpp"

#include <ATen/ATen.h>

#include <limits>

namespace millrace::algorithms {
namespace {

/// [N] the answer that each token belongs to
at::Tensor answer_of(const at::Tensor& x, const at::Tensor& length) {
  TORCH_CHECK(length.defined() && length.dim() == 1, "length: missing, want [answers]");
  const at::Tensor answer = at::arange(length.numel(), length.options()).repeat_interleave(length);
  TORCH_CHECK(answer.sizes() == x.sizes(), "length: sums to ", answer.numel(), ", want the tokens, ", x.numel());
  return answer;
}

} // namespace

at::Tensor log_ratio(const answer_columns& answers) {
  TORCH_CHECK(answers.behaviour_logprob.defined(), "behaviour_logprob: missing, and a correction needs it");
  TORCH_CHECK(answers.old_logprob.sizes() == answers.behaviour_logprob.sizes(), "behaviour_logprob: want ",
              answers.old_logprob.sizes(), ", got ", answers.behaviour_logprob.sizes());
  const auto wide = [](const at::Tensor& x) {
    return x.scalar_type() == at::kDouble ? x.detach() : x.detach().to(at::kFloat);
  };
  return wide(answers.old_logprob) - wide(answers.behaviour_logprob);
}

at::Tensor answer_sum(const at::Tensor& x, const at::Tensor& length) {
  const at::Tensor answer = answer_of(x, length);
  return at::zeros({length.numel()}, x.options()).index_add_(0, answer, x).index_select(0, answer);
}

at::Tensor answer_mean(const at::Tensor& x, const at::Tensor& length) {
  return answer_sum(x, length) / length.to(x.scalar_type()).repeat_interleave(length);
}

at::Tensor answer_max(const at::Tensor& x, const at::Tensor& length) {
  const at::Tensor answer = answer_of(x, length);
  return at::full({length.numel()}, -std::numeric_limits<double>::infinity(), x.options())
      .scatter_reduce(0, answer, x, "amax")
      .index_select(0, answer);
}

at::Tensor importance(const answer_columns& answers, std::string_view level) {
  at::Tensor d = log_ratio(answers);
  if (level == "sequence")
    d = answer_sum(d, answers.length);
  else if (level == "geometric")
    d = answer_mean(d, answers.length);
  return d.clamp(-20, 20).exp();
}

at::Tensor kept(const at::Tensor& weight, const at::Tensor& keep, diagnostics& found) {
  found.masked += keep.logical_not().sum().item<std::int64_t>();
  return weight.masked_fill(keep.logical_not(), 0);
}

} // namespace millrace::algorithms
