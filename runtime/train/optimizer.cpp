#include "runtime/train/optimizer.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace millrace::train {
namespace {

void want(bool holds, const char* field, double found, const char* range) {
  if (!holds)
    throw std::invalid_argument("optimizer." + std::string(field) + ": " + std::to_string(found) + ", want " + range);
}

void check(const optimizer_options& o) {
  want(o.lr >= 0, "lr", o.lr, ">= 0");
  want(o.beta1 >= 0 && o.beta1 < 1, "beta1", o.beta1, "0 <= beta1 < 1");
  want(o.beta2 >= 0 && o.beta2 < 1, "beta2", o.beta2, "0 <= beta2 < 1");
  want(o.eps > 0, "eps", o.eps, "> 0");
  want(o.weight_decay >= 0, "weight_decay", o.weight_decay, ">= 0");
  want(o.warmup_steps >= 0, "warmup_steps", static_cast<double>(o.warmup_steps), ">= 0");
  want(o.schedule == decay::constant || o.total_steps > o.warmup_steps, "total_steps", static_cast<double>(o.total_steps),
       "more than warmup_steps");
  want(o.final_lr_fraction >= 0 && o.final_lr_fraction <= 1, "final_lr_fraction", o.final_lr_fraction, "0 to 1");
  want(o.clip_norm >= 0, "clip_norm", o.clip_norm, ">= 0");
}

} // namespace

decay decay_named(std::string_view name) {
  if (name == "constant")
    return decay::constant;
  if (name == "linear")
    return decay::linear;
  if (name == "cosine")
    return decay::cosine;
  throw std::invalid_argument("decay '" + std::string(name) + "': unknown, want constant, linear or cosine");
}

double learning_rate(const optimizer_options& o, std::int64_t step) {
  if (step < o.warmup_steps)
    return o.lr * static_cast<double>(step + 1) / static_cast<double>(o.warmup_steps + 1);
  if (o.schedule == decay::constant)
    return o.lr;
  const double gone = std::min(1.0, static_cast<double>(step - o.warmup_steps) / static_cast<double>(o.total_steps - o.warmup_steps));
  const double left = o.schedule == decay::linear ? 1 - gone : (1 + std::cos(std::numbers::pi * gone)) / 2;
  return o.lr * (o.final_lr_fraction + (1 - o.final_lr_fraction) * left);
}

adamw::adamw(model::weights parameters, optimizer_options options) : parameters_(std::move(parameters)), options_(options) {
  check(options_);
  for (const auto& parameter : parameters_) {
    first_.push_back(at::zeros_like(parameter.tensor, at::TensorOptions().requires_grad(false)));
    second_.push_back(at::zeros_like(first_.back()));
  }
}

double adamw::gradient_norm() const {
  double squares = 0;
  for (const auto& parameter : parameters_)
    squares += std::pow(parameter.tensor.grad().norm().item<double>(), 2);
  return std::sqrt(squares);
}

double adamw::step(double scale) {
  const at::NoGradGuard no_grad;
  const double lr = learning_rate(options_, steps_);
  ++steps_;
  const auto update = [&](bool decayed) {
    std::vector<at::Tensor> parameters, gradients, first, second, steps;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const at::Tensor& p = parameters_[i].tensor;
      if ((p.dim() > 1) != decayed)
        continue;
      parameters.push_back(p);
      gradients.push_back(p.grad());
      first.push_back(first_[i]);
      second.push_back(second_[i]);
      steps.push_back(at::full({}, static_cast<float>(steps_), p.options().dtype(at::kFloat).requires_grad(false)));
    }
    if (parameters.empty())
      return;
    // The fused update divides gradients by `grad_scale`.
    const at::Tensor divisor = at::full({}, static_cast<float>(1 / scale), parameters[0].options().dtype(at::kFloat).requires_grad(false));
    at::_fused_adamw_(parameters, gradients, first, second, {}, steps, lr, options_.beta1, options_.beta2,
                      decayed ? options_.weight_decay : 0, options_.eps, false, false,
                      scale == 1 ? std::nullopt : std::optional(divisor));
  };
  update(true);
  update(false);
  return lr;
}

model::weights adamw::moments() const {
  model::weights out;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    out.push_back({parameters_[i].name + ".m", first_[i]});
    out.push_back({parameters_[i].name + ".v", second_[i]});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

} // namespace millrace::train
