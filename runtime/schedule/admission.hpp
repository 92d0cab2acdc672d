#pragma once

#include "runtime/schedule/config.hpp"
#include "runtime/schedule/event.hpp"

#include <cstdint>

namespace millrace::schedule {

/// What the gate depends on beside the settings.
struct gate_state {
  version_id version = 0;       ///< v
  version_id first_version = 0; ///< v when this life of the run began
  std::uint32_t steps_cut = 0;  ///< steps whose batch is cut
  bool oversampled = true;      ///< the round has `oversample` groups for each that is trained

  bool operator==(const gate_state&) const = default;
};

/// The number of groups that may be live or consumed: one more starts while there are fewer. The smallest integer that is
/// not below
///
///     B (v + lead) + (oversample - 1) B max(0, v + lead - steps_cut)
///     lead = min(max(1 + depth, first_version - v + 1 + depth + warmup), steps - v)
///
/// in exact arithmetic on `depth`, `warmup` and `oversample` as they were written, with at most six digits after the point.
std::uint64_t admission_limit(const config& settings, const gate_state& at);

/// The number of groups that generation may grow by under one version: `burst` B, at least 1.
std::int64_t burst_groups(const config& settings);

/// Whether the value has at most six digits after the point; infinity has.
bool is_in_millionths(double value);

} // namespace millrace::schedule
