#include "runtime/train/moving_average.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <stdexcept>

namespace millrace::train {

moving_average::moving_average(const model::weights& start, double decay) : decay_(decay) {
  if (!(decay >= 0 && decay < 1))
    throw std::invalid_argument("ema_decay: " + std::to_string(decay) + ", want from 0 to below 1");
  for (const auto& [name, tensor] : start)
    average_.push_back({name, tensor.detach().to(at::kFloat, false, true)});
}

void moving_average::update(const model::weights& parameters) {
  const at::NoGradGuard no_grad;
  if (parameters.size() != average_.size())
    throw std::invalid_argument("moving average: " + std::to_string(parameters.size()) + " parameters, want "
                                + std::to_string(average_.size()));
  for (std::size_t i = 0; i < average_.size(); ++i)
    average_[i].tensor.lerp_(parameters[i].tensor.detach().to(average_[i].tensor.device()), 1 - decay_);
}

} // namespace millrace::train
