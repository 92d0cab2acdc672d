#pragma once

#include "runtime/schedule/event.hpp"
#include "runtime/words/age_mask.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// The actions that the scheduler asks for. Those of one `scheduler::on` are carried out in the order given.
namespace millrace::schedule {

/// Generate the answers of prompt `group` on `worker`. Whatever earlier attempts of the group have given is void.
/// Seeds depend on the run's seed and `group` alone, never on `attempt` or `worker`. So a group that is generated again
/// under the same version gives the same answers.
struct admit {
  group_id group = 0;
  std::uint32_t attempt = 0; ///< from 1, higher with every admission of the group
  worker_id worker = 0;
  version_id born = 0; ///< version the worker runs
  bool resume = false; ///< go on from what the attempt before handed over (`group_interrupted`)
  /// True: start `answers_started` answers. False, in a long round: only those that the group needs.
  bool oversampled = true;
};

/// Forget the attempt, whether it still generates or already has its columns. Nothing about it needs to be reported.
/// The group is generated again later, or was dropped.
struct cancel {
  group_id group = 0;
  std::uint32_t attempt = 0;
  worker_id worker = 0;
};

/// Stop the group where it is, keep what it has and answer with `group_interrupted`. Where the group ends before this
/// arrives, `group_finished` is the answer.
struct interrupt {
  group_id group = 0;
  std::uint32_t attempt = 0;
  worker_id worker = 0;
};

/// Train an update of `step` on these groups, in this order. Answer with `batch_trained` or `training_lost`.
struct cut {
  std::uint32_t step = 0;       ///< steps trained before this one = version of the learner's weights
  std::vector<group_id> groups; ///< ascending; fewer than the update's share where prompts ended or groups were lost
  std::uint32_t part = 0;       ///< which update of the step
  bool ends_step = true;        ///< this is the step's last update
  age_mask mask = age_mask::none;
  version_id train_from = 0;
};

/// Send these workers the learner's weights. Each answers with `version_acknowledged` once it decodes with them. A
/// worker that has not answered an earlier `publish` need not answer that one any more. A late worker
/// (`weights_overdue`) is sent the same version a second time.
struct publish {
  version_id version = 0;
  std::vector<worker_id> workers; ///< ascending
};

enum class drop_reason : std::uint8_t {
  data,          ///< its data failed it (`group_failed`, not retryable)
  attempts,      ///< `faults.attempts` attempts were lost to dead processes
  unneeded,      ///< the run ended before the group could be used
  zero_variance, ///< all its rewards are the same (`group_flat`)
  baseline,      ///< counts tokens, no groups: those of greedy answers, of which only the reward is used
  masked,        ///< counts tokens, no groups: those of trained groups that were left out of the loss
  stale,         ///< older than the bound
  surplus, ///< groups left over when their round had its batch, and tokens of answers left over when their group had
           ///< its answers
};

/// The group is over and its prompt is used up. The next prompt takes its place in the batch, unless
/// `faults.lost_group` says otherwise.
struct drop {
  group_id group = 0;
  drop_reason reason = drop_reason::data;
  std::string why; ///< for people
};

/// Write a checkpoint: the learner's state after `step` steps, and `state`. Answer with `checkpointed`.
struct checkpoint {
  std::uint32_t step = 0;
  std::string state; ///< for `scheduler::restore`
};

enum class finish_reason : std::uint8_t {
  steps_done,
  prompts_exhausted,
  stopped,
  losses, ///< more groups were lost than the table `faults` allows
};

/// The run is over. This is always the last action.
struct finish {
  finish_reason reason = finish_reason::steps_done;
  std::string why; ///< `losses`: which limit, and the last group lost
};

using action = std::variant<admit, cancel, interrupt, cut, publish, drop, checkpoint, finish>;

std::string_view to_string(drop_reason reason);
std::string_view to_string(finish_reason reason);

} // namespace millrace::schedule
