#pragma once

#include "runtime/model/weights.hpp"

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
  moving_average(const model::weights& start, double decay);

  /// One step. @param parameters as many as at the start, in the same order
  void update(const model::weights& parameters);

  const model::weights& parameters() const { return average_; }

private:
  model::weights average_;
  double decay_;
};

} // namespace millrace::train
