#pragma once

#include "runtime/schedule/action.hpp"
#include "runtime/schedule/ledger.hpp"
#include "runtime/schedule/staleness.hpp"

#include <cstdint>
#include <vector>

namespace millrace::schedule {

/// Where the time of the learner went, in shares of the run that sum to 1.
struct learner_time {
  double compute = 0;
  double transfer = 0;   ///< it makes a version available
  double wait_input = 0; ///< for groups
  double wait_bound = 0; ///< for groups that the bound asks for
  double wait_turn = 0;  ///< for generation to end
  double saving = 0;     ///< checkpoints
};

/// Where the time of the rollouts' places went, in shares of the run that sum to 1.
struct rollout_time {
  double compute = 0;      ///< a group holds the place
  double wait_credit = 0;  ///< free, and nothing may start
  double wait_weights = 0; ///< free, and the worker is to take weights first, or takes no more groups until it is empty
  double paused = 0;       ///< the worker stands still: it takes weights
  double dead = 0;
};

/// A step of the learner.
struct trained_step {
  double end_s = 0;
  std::int64_t tokens = 0; ///< trained in it
};

/// Pace of a run between the ends of its first step and its last: how it starts, and that its first batch waited for
/// the first answers, are left out. Both 0 with fewer than two steps.
struct pace {
  double step_s = 0;
  double tokens_per_s = 0; ///< trained
};

pace pace_of(const std::vector<trained_step>& steps);

/// Answers of a worker whose environments are to reply, or have replied while no slot was free.
struct waiting_episodes {
  std::int64_t answers = 0;
  std::int64_t groups = 0;
  double tokens = 0; ///< of the answers so far, with what environments said
};

/// What a schedule does with a workload.
struct prediction {
  std::uint32_t steps = 0;
  double seconds = 0;
  double learner_busy_s = 0;
  double place_busy_s = 0; ///< summed over places that held a group
  double decoding_s = 0;   ///< summed over workers that held one and did not stand still to take weights
  std::uint32_t workers_lost = 0;
  staleness stale;                   ///< at use
  std::int64_t late_groups = 0;      ///< trained with more versions than any update of a step may lie behind
  std::int64_t generated_groups = 0; ///< that finished, each once
  /// Of those groups; with `tail.oversample_attempts` as many as whole answers of their mean length would have.
  std::int64_t generated_tokens = 0;
  waiting_episodes most_waiting; ///< of one worker, at a time
  ledger::totals books;
  learner_time learner;
  rollout_time rollout;
  std::vector<trained_step> trained; ///< in their order
  finish_reason reason = finish_reason::steps_done;

  /// Turns seconds of the learner and of the rollouts into shares of the run.
  void share_out(std::uint32_t workers);

  double step_s() const { return steps > 0 ? seconds / steps : 0; }

  /// Mean tokens of a trained group over those of a generated one; 1: what is trained is not biased by length.
  double length_ratio() const;
};

} // namespace millrace::schedule
