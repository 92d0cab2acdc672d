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

/// The run's own schedule under virtual time, with the costs that the run's own trace tells: how near comes the model that
/// plans other runs by this one?
struct predicted_run {
  std::vector<compared_figure> figures;
  std::vector<std::pair<double, double>> step_ends;     ///< measured: step, seconds since the end of the first
  std::vector<std::pair<double, double>> told_step_ends; ///< the same, predicted
  std::vector<std::string> notes;                       ///< what the trace could not tell
  std::string refusal; ///< not empty: why there is no prediction, in a sentence; then the rest is empty
};

/// Never throws for what a run's folder lacks: it is the `refusal`.
predicted_run predict(const recorded_run& run);

} // namespace millrace::report
