#pragma once

#include "runtime/schedule/scheduler.hpp"

#include <cstdint>
#include <functional>

namespace millrace::schedule {

/// What everything costs. Answers of one group are decoded side by side, each at `tokens_per_s` whatever else runs;
/// a group holds its place until its longest answer ends.
struct workload {
  std::uint32_t workers = 1;           ///< >= 1
  std::uint32_t groups_per_worker = 4; ///< places, >= 1
  std::uint32_t answers_per_group = 8; ///< >= 1
  double mean_tokens = 64;             ///< of an answer before the cut at max_tokens, log-normal, > 0
  double length_cv = 0;                ///< standard deviation / mean of the same, >= 0
  double max_tokens = 64;              ///< >= 1
  double tokens_per_s = 100;           ///< of one answer, > 0
  double columns_s = 0;                ///< from the last token to ready
  double train_s = 1;                  ///< a step
  double publish_s = 0;                ///< a worker stands still this long when it takes new weights
  double checkpoint_s = 0;
  double worker_life_s = 0; ///< mean of an exponential; 0: workers do not die
  double restart_s = 1;     ///< from death to joining again
  std::uint64_t seed = 1;   ///< of lengths and deaths; lengths depend on seed, group and answer only
};

/// What a schedule does with a workload.
struct prediction {
  std::uint32_t steps = 0;
  double seconds = 0;
  double learner_busy_s = 0;
  double place_busy_s = 0;       ///< summed over places that held a group
  std::uint32_t workers_lost = 0;
  staleness stale;               ///< at use
  std::int64_t late_groups = 0;  ///< trained with more than `stale_max` versions
  std::int64_t generated_groups = 0; ///< that finished, each once
  std::int64_t generated_tokens = 0; ///< of those
  ledger::totals books;
  finish_reason reason = finish_reason::steps_done;

  double step_s() const { return steps > 0 ? seconds / steps : 0; }
  /// Mean tokens of a trained group over those of a generated one; 1: what is trained is not biased by length.
  double length_ratio() const;
};

/// Sees every event with the actions it led to.
using observer = std::function<void(const event&, const std::vector<action>&, const scheduler&, double now_s)>;

/// Runs the scheduler of a real run under virtual time until it finishes. Deterministic.
/// @throws input_error for a schedule or costs out of range
/// @throws std::logic_error if nothing is left to happen before the run has finished
prediction simulate(const config& schedule, const workload& costs, const observer& observe = {});

} // namespace millrace::schedule
