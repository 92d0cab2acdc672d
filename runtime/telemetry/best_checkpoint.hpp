#pragma once

#include "runtime/telemetry/metrics.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace millrace::telemetry {

/// Keeps the checkpoint at which a metric stood best as `checkpoints/best`, beside those that come and go: a tree of
/// hard links with `best.json` {step, metric, value} in it.
///
/// A figure of an evaluation belongs to the checkpoint of the very version it evaluated, and may come after it: until
/// then the checkpoint is kept as `.candidate-<step>`. Any other figure is noisy from step to step: a checkpoint's
/// value is its mean since the checkpoint before.
class best_checkpoint {
public:
  /// @param metric "" = keeps nothing
  /// Goes on from the `best` that is there. @throws storage_error
  best_checkpoint(std::filesystem::path checkpoints, std::string metric, bool highest_is_best);

  /// Figures of a step or of an evaluation. @throws storage_error
  void seen(const metric_row& row);

  /// The checkpoint of `step` lies in `folder`. @throws storage_error
  void stored(std::int64_t step, const std::filesystem::path& folder);

  /// Takes away what still waits for a value.
  void finish();

  std::optional<std::int64_t> step() const { return best_step_; }

  std::filesystem::path folder() const { return checkpoints_ / "best"; }

private:
  bool of_evaluation() const { return metric_.starts_with(metric::evaluation_prefix); }

  std::filesystem::path candidate(std::int64_t step) const;
  std::optional<double> mean_until(std::int64_t step);
  void offer(std::int64_t step, double value);

  std::filesystem::path checkpoints_;
  std::string metric_;
  bool highest_is_best_;
  std::map<std::int64_t, double> values_; ///< by step; those of steps only since the last checkpoint
  std::optional<std::int64_t> best_step_;
  double best_value_ = 0;
};

} // namespace millrace::telemetry
