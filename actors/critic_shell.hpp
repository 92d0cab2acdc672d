#pragma once

#include "actors/continuation.hpp"
#include "actors/critic_learning.hpp"
#include "actors/job_thread.hpp"
#include "actors/role_context.hpp"
#include "actors/stage_shell.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <memory>
#include <stop_token>

namespace millrace::actors {

/// What both halves of a critic share: its state, and the one thread that works on it.
struct critic_core {
  std::shared_ptr<critic_learning> learner;
  std::shared_ptr<job_thread> thread;
};

/// The half that is a stage: adds `value`, f32 [sum of lengths], the value before each answer token under the weights of
/// the moment. Reads `prompt_tokens`, `tokens`, `lengths`.
class critic_values : public stage_work {
public:
  explicit critic_values(critic_core core) : core_(std::move(core)) {}

  void process(const process_group& group, column_set columns, std::function<void(stage_result)> done) override;

private:
  critic_core core_;
};

using critic_shell = critic_actor::extend<caf::reacts_to<continuation>>;

struct critic_shell_state {
  static constexpr const char* name = "critic";

  ~critic_shell_state() { stop_training.request_stop(); }

  critic_core core;
  std::stop_source stop_training;
};

/// The half that is trained; see critic.hpp for protocol and invariants. Overloaded: requests queue.
critic_shell::behavior_type make_critic(critic_shell::stateful_pointer<critic_shell_state> self, role_context context,
                                        critic_core core);

} // namespace millrace::actors
