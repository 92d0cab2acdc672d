#pragma once

#include "runtime/report/recorded_run.hpp"

#include <string>
#include <utility>
#include <vector>

namespace millrace::report {

/// A figure of a run as it was measured, and as the plan's model says it.
struct compared_figure {
  std::string name; ///< with its unit
  double measured = 0;
  double predicted = 0;
};

/// A test of the model behind `millrace plan`. It predicts the run that it knows best: the run's own schedule under
/// virtual time, with costs out of the run's own trace. The figures stand beside the measured ones.
struct predicted_run {
  std::vector<compared_figure> figures;
  std::vector<std::pair<double, double>> step_ends;      ///< measured: step, seconds since the end of the first
  std::vector<std::pair<double, double>> told_step_ends; ///< the same, predicted
  std::vector<std::string> notes;                        ///< costs that the trace does not show
  std::string refusal; ///< not empty: why there is no prediction, in a sentence; then the rest is empty
};

/// If the run's folder lacks something, the `refusal` says so; nothing is thrown.
predicted_run predict(const recorded_run& run);

} // namespace millrace::report
