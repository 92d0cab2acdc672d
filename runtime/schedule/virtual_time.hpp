#pragma once

#include "runtime/schedule/scheduler.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

namespace millrace::schedule {

/// Seconds that one decode step, a token for each occupied slot, takes with so many of them occupied.
struct decode_cost {
  double occupied = 1;
  double step_s = 0.01;
};

/// What everything costs. A worker decodes the answers of its groups side by side in its slots; answers without a slot
/// wait, first come first served. A group is finished with its longest answer.
struct workload {
  std::uint32_t workers = 1;           ///< >= 1
  std::uint32_t groups_per_worker = 4; ///< groups that a worker takes at once, >= 1
  std::uint32_t slots = 0;             ///< answers that a worker decodes at once; 0: those of all its groups
  std::uint32_t answers_per_group = 8; ///< >= 1

  double mean_tokens = 64; ///< of an answer before the cut at max_tokens, log-normal, > 0
  double length_cv = 0;    ///< standard deviation / mean of the same, >= 0
  double max_tokens = 64;  ///< >= 1
  /// Lengths as measured, answers of one group each: group g is as row g modulo their number. Empty: log-normal as above.
  std::vector<std::vector<std::int32_t>> lengths;

  double tokens_per_s = 100;       ///< of one answer, whatever else runs; > 0
  std::vector<decode_cost> decode; ///< not empty: instead of it; ascending in `occupied`, in between linear
  double prefill_s = 0;            ///< a worker decodes nothing for so long when a group begins
  double resume_token_s = 0;       ///< the same, for each token of a group that goes on
  double columns_s = 0;            ///< from the last token to ready
  double train_s = 1;              ///< a step; each of its updates takes its share of it
  double train_token_s = 0;        ///< more for each token
  double stage_s = 0;              ///< from publication until a worker can take the weights; it goes on decoding
  double publish_s = 0;            ///< a worker stands still this long when it takes new weights
  double contention = 1;           ///< decode steps take so many times as long while the learner works, >= 1
  double train_contention = 1;     ///< an update takes so many times as long if groups are generated when it begins, >= 1
  double checkpoint_s = 0;
  double worker_life_s = 0;        ///< mean of an exponential; 0: workers do not die
  double restart_s = 1;            ///< from death to joining again
  std::uint64_t prompts = 0;       ///< how many there are; 0: no end
  std::uint64_t seed = 1;          ///< of lengths and deaths; lengths depend on seed, group and answer only
};

/// Where the time of the learner went, in shares of the run that sum to 1.
struct learner_time {
  double compute = 0;
  double wait_input = 0;  ///< for groups
  double wait_bound = 0;  ///< for groups that the bound asks for
  double wait_turn = 0;   ///< for generation to end
  double saving = 0;      ///< the run's last checkpoint
};

/// Where the time of the rollouts' places went, in shares of the run that sum to 1.
struct rollout_time {
  double compute = 0;      ///< a group holds the place
  double wait_credit = 0;  ///< free, and nothing may start
  double wait_weights = 0; ///< free, and the worker is to take weights first, or takes no more groups until it is empty
  double paused = 0;       ///< the worker stands still: it takes weights
  double dead = 0;
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
  learner_time learner;
  rollout_time rollout;
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
