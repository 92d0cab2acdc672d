#pragma once

#include "runtime/telemetry/trace.hpp"

#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::telemetry {

/// Where the time of one role went.
struct role_time {
  std::string role;
  int tracks = 0;                                        ///< actors of this role
  double seconds = 0;                                    ///< over all its tracks
  std::vector<std::pair<std::string, double>> fractions; ///< by cause, largest first, `idle` last; they sum to 1
};

/// Sums spans by role and cause. A moment of a track counts once, for the innermost span over it. A moment without a
/// span counts as `idle`. So the fractions of a role sum to 1, whatever the spans are.
class time_table {
public:
  /// Adds spans; those of one track in order of their ends, as `tracer` collects them.
  /// @param clock_offset_s as in `trace_file::add`
  void add(std::span<const span> spans, double clock_offset_s = 0);
  /// One row a role, by name. The time of every track runs from the first span of any to `until_s`, or the last span of
  /// any.
  std::vector<role_time> rows(double until_s = 0) const;

private:
  struct track_time {
    std::map<double, double> covered; ///< begin -> end of stretches already counted, disjoint
    std::map<std::string, double> by_cause;
  };

  std::map<std::string, track_time> tracks_;
  double first_s_ = std::numeric_limits<double>::infinity(); ///< of any span
  double last_s_ = -std::numeric_limits<double>::infinity();
};

/// "rollout" of "rollout/1".
std::string_view role_of(std::string_view track);

} // namespace millrace::telemetry
