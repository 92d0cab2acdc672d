#pragma once

#include "runtime/telemetry/metrics.hpp"
#include "runtime/telemetry/run_status.hpp"
#include "runtime/telemetry/trace.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace millrace::report {

/// One answer as it was trained, out of the trajectories.
struct trained_answer {
  std::uint64_t group = 0;
  std::int64_t step = 0; ///< the optimizer step that trained it
  std::int64_t tokens = 0;
  double reward = 0;             ///< NaN: it had no score, and was not trained
  std::uint32_t version_min = 0; ///< policy versions that sampled its tokens
  std::uint32_t version_max = 0;

  /// Versions between the oldest token and the policy that trained it (step - 1). Never negative.
  std::int64_t staleness() const;
};

/// A group as it was trained, to be read.
struct sampled_group {
  struct answer {
    std::string text;
    double reward = 0;  ///< NaN: it has none
    std::string finish; ///< "stop" or "length"
  };

  std::int64_t step = 0;
  std::string prompt;
  std::string ground_truth;
  std::vector<answer> answers;
};

/// Keys of `resolved.toml`, with their values as they are written.
using run_settings = std::vector<std::pair<std::string, std::string>>;

/// A run as its folder records it. The times of a later session (a resume) follow the times of the session before.
struct recorded_run {
  std::filesystem::path folder;
  std::string label; ///< the folder's name
  telemetry::run_status status;
  std::vector<telemetry::metric_row> metrics; ///< of steps
  /// Of held-out sets: figures `evaluation/<role>/<figure>`, at a version.
  std::vector<telemetry::metric_row> evaluations;
  std::vector<telemetry::span> spans; ///< seconds from the first session's beginning
  std::vector<telemetry::counter> counters;
  std::vector<double> session_starts;  ///< seconds, one a session; the first is 0
  std::vector<trained_answer> answers; ///< those that were sampled into the trajectories
  double end_s = 0;                    ///< of the last span
  run_settings settings;
  std::vector<sampled_group> samples; ///< one of the first step in the trajectories, then one of the last
};

/// Reads a finished or a live run. What a crash tore off the end of a file is left out.
/// @throws input_error if `folder` is not a run's folder, or a file in it holds something else
recorded_run read_recorded_run(const std::filesystem::path& folder);

} // namespace millrace::report
