#pragma once

#include "runtime/telemetry/log.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::telemetry {

struct progress {
  std::int64_t step = 0; ///< done
  std::int64_t steps = 0;
  double reward = 0;       ///< mean of the last step; NaN before the first
  double tokens_per_s = 0; ///< generated, recently
  double staleness = 0;    ///< mean of the last step, policy versions
  double left_s = 0;       ///< negative: not known yet
  std::string doing;       ///< what goes on until the first step is done, e.g. "loading weights"; "" otherwise
};

/// "step 12/60  reward 0.41  1834 tokens/s  staleness 0.8  3:20 left"
std::string in_words(const progress& p);

/// "48 s", "3:20", "2:05:00"
std::string in_time(double seconds);

/// Shows progress through a logger: on a terminal one line that is drawn over, elsewhere a plain line a step, at most
/// one in `every_s` seconds except for the last step.
class progress_line {
public:
  progress_line(logger& to, double every_s = 0) : to_{to}, every_s_{every_s} {}

  /// `at_s` is `now_s()`.
  void show(const progress& p, double at_s);

  /// Takes the live line away: the run is over.
  void finish() { to_.live_line(""); }

private:
  logger& to_;
  double every_s_;
  double shown_s_ = -1e300;
  std::int64_t shown_step_ = -1;
};

/// Seconds left from the times at which steps ended: a robust mean of the last steps, so that the first, slow one and
/// a checkpoint do not mislead.
class time_left {
public:
  /// A step was done at `at_s`.
  void step_done(double at_s);
  /// Negative before the second step.
  double seconds(std::int64_t steps_left) const;

private:
  std::vector<double> ends_s_;
};

} // namespace millrace::telemetry
