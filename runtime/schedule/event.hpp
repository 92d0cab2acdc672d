#pragma once

#include "runtime/schedule/version_counts.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/// What the scheduler is told. An event about something that is no longer so (an earlier attempt, another step, a
/// worker that is gone) changes nothing but `scheduler::ignored()`: late messages are part of life.
namespace millrace::schedule {

using group_id = std::uint64_t;   ///< admission sequence number, from 0; also the index of the prompt the group answers
using worker_id = std::uint32_t;

/// A rollout worker can take groups. A worker that joins under the id of a live one was lost first.
struct worker_joined {
  worker_id worker = 0;
  std::uint32_t capacity_groups = 1; ///< groups it may hold at once, >= 1
  std::optional<version_id> holds;   ///< version of its weights; none: it is sent the newest and gets no group before
  std::string name;                  ///< as a person reads it, e.g. "rollout/0"
  bool lent = false;                 ///< it runs on the learner's hardware (`place` lend)
};

/// The worker is gone with every group that it was generating. Tensors of finished groups that went with it are told by `group_lost`.
struct worker_lost {
  worker_id worker = 0;
};

/// The worker runs `version` from its next decode step on; the answer to `publish`. May skip versions.
struct version_acknowledged {
  worker_id worker = 0;
  version_id version = 0;
};

/// The worker has not acknowledged `version` within `publish_deadline_s` of being sent it, nor a newer one.
struct weights_overdue {
  worker_id worker = 0;
  version_id version = 0;
};

/// All answers of the group that are kept are generated; the place on the worker is free.
struct group_finished {
  group_id group = 0;
  std::uint32_t attempt = 0;
  version_counts tokens; ///< empty: no answer has a token. Those of handed-over answers too
  std::int64_t baseline_tokens = 0;   ///< >= 0, of an answer beside them that only its reward is wanted of
  version_counts answers = {}; ///< tokens of whole answers by the oldest version in each; empty: as if all were one answer
  std::int64_t surplus_tokens = 0; ///< >= 0, of answers that were started beside those and are not kept (`oversample_attempts`)
};

/// The answer to `interrupt`: generation of the group has stopped, what it has so far is kept; the place is free.
struct group_interrupted {
  group_id group = 0;
  std::uint32_t attempt = 0;
  version_counts tokens; ///< of all answers, those too that may not be kept in the end
};

/// Every column that the learner needs is there.
struct group_ready {
  group_id group = 0;
  std::uint32_t attempt = 0;
};

/// As `group_ready`, and all rewards of the group are the same: dropped and replaced by the next prompt, up to
/// `flat_groups_per_step` times a step, then taken like any other.
struct group_flat {
  group_id group = 0;
  std::uint32_t attempt = 0;
};

/// The group cannot go on, whatever its state before training.
struct group_failed {
  group_id group = 0;
  std::uint32_t attempt = 0;
  bool retryable = false;  ///< true: infrastructure, generated again; false: the data is at fault, dropped
  std::int64_t tokens = 0; ///< sampled by an attempt that had not finished
  std::string why;
};

/// The group has been generating, or waiting for its columns, for longer than `call_deadline_s`: the attempt counts as
/// lost to infrastructure. Its worker is told.
struct group_overdue {
  group_id group = 0;
  std::uint32_t attempt = 0;
};

/// Tensors of a group that had finished are gone (its owner died): it is generated again.
struct group_lost {
  group_id group = 0;
  std::uint32_t attempt = 0;
};

/// The learner has applied an update of `step`; after the step's last one its weights are version step + 1.
struct batch_trained {
  std::uint32_t step = 0;
  std::int64_t tokens = 0; ///< answer tokens that were trained, as the learner counted them: the ledger compares
  std::int64_t masked = 0; ///< >= 0, further tokens of its groups that had no part in the loss
  std::uint32_t part = 0;  ///< which update of the step
};

/// The learner gave an update of `step` up, its weights unchanged: the groups are ready again.
struct training_lost {
  std::uint32_t step = 0;
  std::uint32_t part = 0;
};

/// There are `count` prompts, with indices below `count`; groups beyond it are void. May be sent before the first group.
struct prompts_exhausted {
  std::uint64_t count = 0;
};

/// The checkpoint of the state after `step` updates lies on disk under its final name.
struct checkpointed {
  std::uint32_t step = 0;
};

/// End now: no new group and no new batch. A batch in training is awaited (`batch_trained` or `training_lost`), then
/// a checkpoint is asked for and the run finishes.
struct stop_requested {};

using event = std::variant<worker_joined, worker_lost, version_acknowledged, weights_overdue, group_finished, group_interrupted, group_ready, group_flat,
                           group_failed, group_overdue, group_lost, batch_trained, training_lost, prompts_exhausted, checkpointed, stop_requested>;

} // namespace millrace::schedule
