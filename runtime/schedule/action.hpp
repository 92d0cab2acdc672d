#pragma once

#include "runtime/schedule/event.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// What the scheduler asks for. Actions of one `on` are carried out in the order given.
namespace millrace::schedule {

/// Generate the answers of prompt `group` on `worker`. Voids everything known of earlier attempts of the group.
/// Seeds derive from the run's seed and `group` alone, never from `attempt` or `worker`: a group that is generated
/// again under the same version gives the same answers.
struct admit {
  group_id group = 0;
  std::uint32_t attempt = 0; ///< from 1, higher with every admission of the group
  worker_id worker = 0;
  version_id born = 0; ///< version the worker runs
  bool resume = false; ///< go on with what the attempt before handed over (`group_interrupted`)
  bool oversampled = true; ///< with `answers_started` answers; false, in a long round: with those that the group needs alone
};

/// The attempt is void, whether it still generates or has all its columns; nothing about it needs to be reported. The
/// group is generated again later.
struct cancel {
  group_id group = 0;
  std::uint32_t attempt = 0;
  worker_id worker = 0;
};

/// Stop generating and keep what there is; answer with `group_interrupted`. `group_finished` may be on its way already.
struct interrupt {
  group_id group = 0;
  std::uint32_t attempt = 0;
  worker_id worker = 0;
};

/// What of a batch trains.
enum class training_mask : std::uint8_t {
  none,    ///< everything
  tokens,  ///< tokens of version `train_from` and later
  answers, ///< answers without a token of an earlier version; the others keep their reward
};

/// Train an update of `step` on these groups, in this order; answer with `batch_trained` or `training_lost`.
struct cut {
  std::uint32_t step = 0;       ///< steps trained before this one = version of the learner's weights
  std::vector<group_id> groups; ///< ascending; fewer than the update's share only where prompts ended or groups were lost
  std::uint32_t part = 0;       ///< which update of the step
  bool ends_step = true;        ///< it is the step's last
  training_mask mask = training_mask::none;
  version_id train_from = 0;
};

/// Send these workers the learner's weights; each answers `version_acknowledged` once it has flipped. Replaces an
/// earlier `publish` that a worker has not answered. One that is late (`weights_overdue`) is sent what it was sent once more.
struct publish {
  version_id version = 0;
  std::vector<worker_id> workers; ///< ascending
};

enum class drop_reason : std::uint8_t {
  data,     ///< `group_failed`, not retryable
  attempts, ///< `attempts_per_group` attempts were lost to infrastructure
  unneeded, ///< the run ended before the group could be used
  zero_variance, ///< `group_flat`: all rewards are the same, nothing to learn from
  baseline, ///< tokens alone: answers that only their rewards were wanted of
  masked,   ///< tokens alone: of trained groups, left out of the loss
  stale,    ///< older than the bound
  surplus,  ///< groups left over when their round had its batch, and tokens of answers left over when their group had its answers
};

/// The group is over and its prompt is used up. The next prompt takes its place in the batch, unless `lost_group` says otherwise.
struct drop {
  group_id group = 0;
  drop_reason reason = drop_reason::data;
  std::string why; ///< for people
};

/// Write a checkpoint: the learner's state after `step` updates and `state`; answer with `checkpointed`.
struct checkpoint {
  std::uint32_t step = 0;
  std::string state; ///< for `scheduler::restore`
};

enum class finish_reason : std::uint8_t {
  steps_done,
  prompts_exhausted,
  stopped,
  losses, ///< more groups were lost than `lost_group`, `min_batch_fraction` or `consecutive_losses` allow
};

/// The run is over; always the last action.
struct finish {
  finish_reason reason = finish_reason::steps_done;
  std::string why; ///< `losses`: which limit, and the last group lost
};

using action = std::variant<admit, cancel, interrupt, cut, publish, drop, checkpoint, finish>;

std::string_view to_string(drop_reason reason);
std::string_view to_string(finish_reason reason);

} // namespace millrace::schedule
