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
  bool oversampled = true;      ///< the round starts `tail.oversample_prompts` groups for each one that is trained

  bool operator==(const gate_state&) const = default;
};

/// The number of groups that may be live or consumed: one more starts while there are fewer. The smallest integer that
/// is not below
///
///     B (v + lead) + (oversample_prompts - 1) B max(0, v + lead - steps_cut)
///     lead = min(max(1 + depth, first_version - v + 1 + depth + warmup), steps - v)
///
/// in exact arithmetic on the three decimals as they were written, with at most six digits after the point.
std::uint64_t admission_limit(const config& settings, const gate_state& at);

/// The number of answers that a group starts if it needs `needed`: `tail.oversample_attempts` for each, rounded up. The
/// group keeps the `needed` shortest, in tokens; among equals the lower index. It ends as soon as so many have ended
/// and no other can become one of them. Which answers these are depends on weights and seed alone, not on who was
/// decoded beside whom.
std::uint32_t answers_started(const config& settings, std::uint32_t needed);

/// The share that `place.reclaim_adapt` goes on with after a step that ended with `ready` groups of the next one. Fewer
/// than B: the learner had its hardware back too soon, so the share moves an eighth of the way to 1. Else it moves an
/// eighth of the way to 1 / B. It counts groups and no seconds: how much lending may cost the learner is for the person
/// to say, by the `reclaim_at` to begin with.
double adapted_reclaim(const config& settings, double share, std::size_t ready);

/// The number of groups that generation may grow by under one version: `burst` B, at least 1.
std::int64_t burst_groups(const config& settings);

/// Whether the value has at most six digits after the point; infinity has.
bool is_in_millionths(double value);

} // namespace millrace::schedule
