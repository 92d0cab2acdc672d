#pragma once

#include "actors/policy.hpp"

#include <caf/typed_actor.hpp>

#include <cstdint>

namespace millrace::actors {

// -- messages -----------------------------------------------------------------

/// Ends the critic's half of a step: its gradient is applied and the groups are used up, or both are as before.
/// coordinator -> critic, once for each `train_batch`, whether that was answered or not.
struct end_critic_step {
  std::uint64_t step = 0;
  bool apply = false;
  std::uint32_t part = 0;
};

template <class Inspector>
auto inspect(Inspector& f, end_critic_step& x) {
  return f(caf::meta::type_name("end_critic_step"), x.step, x.apply, x.part);
}

/// Answers `end_critic_step`: whatever is asked of either half of the critic from now on is done after it.
struct critic_step_ended {
  std::uint64_t step = 0;
};

template <class Inspector>
auto inspect(Inspector& f, critic_step_ended& x) {
  return f(caf::meta::type_name("critic_step_ended"), x.step);
}

// -- protocol -----------------------------------------------------------------

/// The half of a critic that is trained; the other half, which adds `value` to passing groups, is a stage.
///
/// The policy and the critic train one step side by side. `train_batch` computes the critic's gradient and changes
/// nothing; what the policy's own answer was decides by `end_critic_step` whether it is applied. So an interrupted step
/// leaves both as they were, in one process and in two. Where the critic's targets are made of the policy's
/// log-probabilities (V-trace) it is asked after the policy, and told them.
///
/// Invariants
/// - CT-1: requests are carried out one after another in the order of arrival, but for `interrupt_training`; the values
///   of groups that pass through take their turn among them.
/// - CT-2: a group trains the critic at most once: an applied step forgets its groups.
/// - CT-3: parameters change in `end_critic_step` only.
/// - CT-4: heavy work runs on a thread of its own; the mailbox is always free.
///
/// Dead: the run ends with one line and goes on from its last checkpoint, as with the policy.
using critic_actor
    = caf::typed_actor<caf::replies_to<fetch_group>::with<group_fetched>, caf::reacts_to<forget_group>,
                       caf::replies_to<train_batch>::with<batch_report>, caf::reacts_to<interrupt_training>,
                       caf::replies_to<end_critic_step>::with<critic_step_ended>, caf::replies_to<write_checkpoint>::with<checkpoint_written>>;

} // namespace millrace::actors
