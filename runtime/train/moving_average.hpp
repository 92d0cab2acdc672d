#pragma once

#include "runtime/model/weights.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cstddef>
#include <stdexcept>
#include <string>

namespace millrace::train {

/// The exponential average of parameters over steps:
///
///     e = decay e + (1 - decay) w,  e_0 = w_0
///
/// Source: Polyak and Juditsky 1992 in the form that DeepSpeed-Chat keeps of its actor (decay 0.992).
/// Differs from it in: nothing.
class moving_average {
public:
  /// Copies `start`, in fp32. @throws std::invalid_argument for a decay outside [0, 1)
  moving_average(const model::weights& start, double decay) : decay_(decay) {
    if (!(decay >= 0 && decay < 1))
      throw std::invalid_argument("ema_decay: " + std::to_string(decay) + ", want from 0 to below 1");
    for (const auto& [name, tensor] : start)
      average_.push_back({name, tensor.detach().to(at::kFloat, false, true)});
  }

  /// One step. @param parameters as many as at the start, in the same order
  void update(const model::weights& parameters) {
    const at::NoGradGuard no_grad;
    if (parameters.size() != average_.size())
      throw std::invalid_argument("moving average: " + std::to_string(parameters.size()) + " parameters, want "
                                  + std::to_string(average_.size()));
    for (std::size_t i = 0; i < average_.size(); ++i)
      average_[i].tensor.lerp_(parameters[i].tensor.detach().to(average_[i].tensor.device()), 1 - decay_);
  }

  const model::weights& parameters() const { return average_; }

private:
  model::weights average_;
  double decay_;
};

} // namespace millrace::train
