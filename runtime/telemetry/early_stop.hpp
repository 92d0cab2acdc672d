#pragma once

#include "runtime/telemetry/metrics.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace millrace::telemetry {

/// When a run is to stop before its last step.
struct stop_rule {
  std::string metric; ///< a name in metrics.jsonl

  double above = 0;      ///< with `patience` 0: the mean of the last `over` values is above this
  std::int64_t over = 1; ///< >= 1

  std::int64_t patience = 0; ///< above 0: the best value is this many values back
  bool highest_is_best = true;
  double min_change = 0; ///< a value is better by more than this
};

/// Watches the figures of a run. A value that is not finite counts as none.
class early_stop {
public:
  explicit early_stop(std::vector<stop_rule> rules = {});

  /// @returns why the run is to stop, one sentence without a full stop; "" = it is not
  std::string seen(const metric_row& row);

  /// Metrics of rules that `row`, of a step, should have and has not: misspelt names. Those of evaluations come later.
  std::vector<std::string> missing_in(const metric_row& row) const;

private:
  struct watched {
    stop_rule rule;
    std::deque<double> last; ///< at most `over`
    std::optional<double> best;
    std::int64_t since_best = 0;
  };

  std::vector<watched> rules_;
};

} // namespace millrace::telemetry
