#pragma once

#include "actors/continuation.hpp"
#include "actors/job_thread.hpp"
#include "actors/reference.hpp"
#include "actors/reference_weights.hpp"
#include "actors/role_context.hpp"
#include "actors/stage_shell.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <memory>

namespace millrace::actors {

/// What both halves of a reference share.
struct reference_core {
  std::shared_ptr<reference_weights> weights;
  std::shared_ptr<job_thread> thread;
};

/// The half that is a stage. Reads `prompt_tokens`, `tokens`, `lengths`; adds `ref_logprob`, f32 [sum of lengths].
class reference : public stage_work {
public:
  explicit reference(reference_core core) : core_(std::move(core)) {}

  void process(const process_group& group, column_set columns, std::function<void(stage_result)> done) override;

private:
  reference_core core_;
};

using reference_shell = reference_actor::extend<caf::reacts_to<continuation>>;

struct reference_shell_state {
  static constexpr const char* name = "reference";
  reference_core core;
};

/// The half that follows. Overloaded: requests queue.
reference_shell::behavior_type make_reference(reference_shell::stateful_pointer<reference_shell_state> self, role_context context,
                                              reference_core core);

} // namespace millrace::actors
