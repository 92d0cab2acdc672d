#include "runtime/model/rope_table.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace millrace::model {
namespace {

double llama3_frequency(double frequency, const rope_scaling& s) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double context = static_cast<double>(s.original_context);
  if (wavelength < context / s.high_freq_factor)
    return frequency;
  if (wavelength > context / s.low_freq_factor)
    return frequency / s.factor;
  const double smooth = (context / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - smooth) * frequency / s.factor + smooth * frequency;
}

/// The dimension, not rounded, whose frequency makes so many turns within the original context.
double dimension_of(double turns, const model_config& c) {
  const double context = static_cast<double>(c.scaling.original_context);
  return static_cast<double>(c.head_dim) * std::log(context / (turns * 2 * std::numbers::pi))
         / (2 * std::log(c.rope_theta));
}

/// Fast frequencies stay, slow ones are divided by the factor, those between are mixed along a ramp of dimensions.
/// @param period [head_dim / 2] 1 / frequency
at::Tensor yarn_frequencies(const at::Tensor& period, const model_config& c) {
  double low = dimension_of(c.scaling.beta_fast, c), high = dimension_of(c.scaling.beta_slow, c);
  if (c.scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(c.head_dim - 1));
  if (low == high)
    high += 0.001; // as transformers does: a ramp without width divides by zero
  const at::Tensor dimension = at::arange(c.head_dim / 2, at::kFloat);
  const at::Tensor stays = 1 - ((dimension - low) / (high - low)).clamp(0, 1);
  return (c.scaling.factor * period).reciprocal() * (1 - stays) + period.reciprocal() * stays;
}

at::Tensor frequencies(const model_config& config) {
  const at::Tensor exponent = at::arange(0, config.head_dim, 2).to(at::kFloat) / static_cast<double>(config.head_dim);
  const at::Tensor period = at::pow(config.rope_theta, exponent);
  at::Tensor frequency = period.reciprocal();
  switch (config.scaling.type) {
  case rope_scaling::kind::none:
    break;
  case rope_scaling::kind::linear:
    frequency.div_(config.scaling.factor);
    break;
  case rope_scaling::kind::llama3:
    for (std::int64_t i = 0; i < frequency.size(0); ++i)
      frequency[i] = llama3_frequency(frequency[i].item<double>(), config.scaling);
    break;
  case rope_scaling::kind::yarn:
    frequency = yarn_frequencies(period, config);
    break;
  }
  return frequency;
}

} // namespace

std::array<at::Tensor, 2> rope_table(const model_config& config) {
  const at::Tensor angle = at::outer(at::arange(config.max_positions, at::kFloat), frequencies(config));
  at::Tensor cos = angle.cos(), sin = angle.sin();
  if (config.scaling.type == rope_scaling::kind::yarn) {
    cos.mul_(config.scaling.attention_factor);
    sin.mul_(config.scaling.attention_factor);
  }
  return {cos, sin};
}

} // namespace millrace::model
