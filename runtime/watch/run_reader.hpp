#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/telemetry/metrics.hpp"
#include "runtime/telemetry/run_status.hpp"
#include "runtime/telemetry/trajectories.hpp"
#include "runtime/watch/curve.hpp"
#include "runtime/watch/line_follower.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::watch {

/// Trained tokens by the ages of `metric::ages`, since the run began.
struct staleness_histogram {
  std::array<double, metric::ages.size()> tokens{};
  double sum = 0; ///< token x versions

  double count() const;
};

/// Time and bytes of a file: others once it was replaced.
using file_version = std::pair<std::filesystem::file_time_type, std::uintmax_t>;

/// What the records of a run say of it now, in bounded memory. The counters say which part has changed.
struct run_view {
  std::filesystem::path folder;
  std::shared_ptr<const pipeline::pipeline> pipeline; ///< null: it cannot be read (any more)
  std::optional<telemetry::run_status> status;
  std::map<std::string, curve> curves; ///< by figure
  telemetry::metric_row last_row;      ///< of the newest step
  staleness_histogram staleness;
  std::deque<std::string> groups;   ///< rows of the trajectories, JSON, the newest first
  std::vector<std::string> marked;  ///< the same of some groups trained last, with tokens
  std::deque<std::string> failures; ///< warnings and errors of log.txt, the newest first
  std::uint64_t status_changes = 0, metric_changes = 0, group_changes = 0, failure_changes = 0;
};

/// Follows the files that a run writes. The run itself is neither asked nor stopped: whatever the reader does, the run
/// does not wait for it.
class run_reader {
public:
  static constexpr std::size_t shown_groups = 6, shown_failures = 50, longest_row = 1 << 20;

  /// @param folder where the run, or the stage under way, writes; "" while no stage has begun
  explicit run_reader(std::function<std::filesystem::path()> folder) : folder_(std::move(folder)) {}

  /// Reads what is new.
  void poll();

  const run_view& view() const { return view_; }

private:
  void begin(const std::filesystem::path& folder);
  void poll_pipeline();
  void poll_status();
  void poll_metrics();
  void poll_groups();
  void poll_marked();
  void poll_failures();
  void take(const telemetry::metric_row& row);

  std::function<std::filesystem::path()> folder_;
  run_view view_;
  line_follower metrics_{""}, log_{""};
  int session_ = 0;
  file_version pipeline_seen_, marked_seen_;
  telemetry::trajectory_follower trajectories_{""};
};

} // namespace millrace::watch
