#pragma once

#include "runtime/schedule/version_counts.hpp"
#include "runtime/words/ids.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/// The events that the scheduler is told of: what has happened, never what to do about it. Messages cross, so an event
/// may come too late: about an earlier attempt, another step or a worker that is gone. Such an event changes nothing
/// but the count `scheduler::ignored()`.
namespace millrace::schedule {

using worker_id = std::uint32_t;

/// A rollout worker is there and can take groups. If a worker of the same id is still there, that one counts as lost.
struct worker_joined {
  worker_id worker = 0;
  std::uint32_t capacity_groups = 1; ///< groups it may hold at once, >= 1
  std::optional<version_id> holds;   ///< version of its weights; none: it gets no group before it was sent some
  std::string name;                  ///< as a person reads it, e.g. "rollout/0"
  bool lent = false;                 ///< it runs on the learner's hardware (`place` lend)
};

/// The worker is gone, and with it every group that it was generating. Finished groups whose tensors it held are not
/// meant: each of them is told by its own `group_lost`.
struct worker_lost {
  worker_id worker = 0;
};

/// The worker decodes with `version` from its next step on. This answers `publish`. A worker may skip versions.
struct version_acknowledged {
  worker_id worker = 0;
  version_id version = 0;
};

/// `publish.deadline_s` after it was sent `version` the worker has acknowledged neither that version nor a newer one.
struct weights_overdue {
  worker_id worker = 0;
  version_id version = 0;
};

/// The group has all the answers that it keeps. Its place on the worker is free.
struct group_finished {
  group_id group = 0;
  attempt_number attempt = 0;
  version_counts tokens;            ///< of all its answers, handed-over parts too; empty: no answer has a token
  std::int64_t baseline_tokens = 0; ///< >= 0, of the greedy answer, of which only the reward is used
  /// The same tokens by the oldest version in each answer; empty: as if all were one answer.
  version_counts answers = {};
  std::int64_t surplus_tokens = 0; ///< >= 0, of answers that are not kept (`tail.oversample_attempts`)
};

/// The group has stopped where it was and keeps what it has. Its place is free. This answers `interrupt`.
struct group_interrupted {
  group_id group = 0;
  attempt_number attempt = 0;
  version_counts tokens; ///< of all answers, also of those that the group may not keep in the end
};

/// The group has every column that the learner needs.
struct group_ready {
  group_id group = 0;
  attempt_number attempt = 0;
};

/// The group has every column, and all its rewards are the same: nothing can be learned from it. It is dropped and the
/// next prompt takes its place. After `flat_groups_per_step` of them in a step further ones count as `group_ready`.
struct group_flat {
  group_id group = 0;
  attempt_number attempt = 0;
};

/// The group cannot go on. It may be in any state before training.
struct group_failed {
  group_id group = 0;
  attempt_number attempt = 0;
  bool retryable = false;  ///< true: a process failed, the group is generated again; false: its data is at fault
  std::int64_t tokens = 0; ///< sampled by an attempt that had not finished
  std::string why;
};

/// The group has been generating, or waiting for its columns, for longer than `faults.call_deadline_s`. The attempt
/// counts as lost, and the worker is told to give it up.
struct group_overdue {
  group_id group = 0;
  attempt_number attempt = 0;
};

/// The group had finished, and its tensors are gone because the process that held them died. It is generated again.
struct group_lost {
  group_id group = 0;
  attempt_number attempt = 0;
};

/// The learner has applied an update of `step`. After the step's last update its weights are version step + 1.
struct batch_trained {
  std::uint32_t step = 0;
  std::int64_t tokens = 0; ///< answer tokens that were trained, by the learner's own count, which the ledger checks
  std::int64_t masked = 0; ///< >= 0, tokens of the same groups that were left out of the loss
  std::uint32_t part = 0;  ///< which update of the step
};

/// The learner gave up an update of `step` without changing its weights. The update's groups are ready again.
struct training_lost {
  std::uint32_t step = 0;
  std::uint32_t part = 0;
};

/// There are only `count` prompts. Groups with this id or a higher one have no prompt and are dropped. May be told at
/// any time, also before the first group.
struct prompts_exhausted {
  std::uint64_t count = 0;
};

/// The checkpoint of the state after `step` steps lies on disk under its final name.
struct checkpointed {
  std::uint32_t step = 0;
};

/// The last checkpoint is old: the run writes one when the step under way has ended.
struct checkpoint_wanted {};

/// A person wants the run to end. No group and no batch is started any more. When the batch in training has ended
/// (`batch_trained`, `training_lost`), the run writes a checkpoint and finishes.
struct stop_requested {};

using event =
    std::variant<worker_joined, worker_lost, version_acknowledged, weights_overdue, group_finished, group_interrupted,
                 group_ready, group_flat, group_failed, group_overdue, group_lost, batch_trained, training_lost,
                 prompts_exhausted, checkpointed, stop_requested, checkpoint_wanted>;

} // namespace millrace::schedule
