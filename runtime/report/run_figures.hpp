#pragma once

#include "runtime/report/recorded_run.hpp"
#include "runtime/telemetry/time_table.hpp"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace millrace::report {

/// A line of the table that compares runs.
struct key_figure {
  std::string name;  ///< with its unit
  std::string words; ///< for people
  double value = 0;  ///< for programs; NaN: not known, or no number
};

/// The figures of a run that the comparison table shows, in order.
std::vector<key_figure> key_figures(const recorded_run& run);

/// Where each role's time went; each role's fractions sum to 1.
std::vector<telemetry::role_time> times_of(const recorded_run& run);

/// Trained tokens by staleness of the answer they belong to (sampled trajectories), ascending.
std::map<std::int64_t, std::int64_t> tokens_by_staleness(const recorded_run& run);

/// Mean reward of the answers of each staleness, ascending: bucket 0, 1, 2, 3-4, 5-8, ... as words.
std::vector<std::pair<std::string, double>> reward_by_staleness(const recorded_run& run);

/// "0", "1", "2", "3-4", "5-8", "9-16", ...
std::string staleness_bucket(std::int64_t staleness);

} // namespace millrace::report
