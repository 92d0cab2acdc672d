#pragma once

#include "actors/continuation.hpp"
#include "actors/evaluation.hpp"
#include "actors/evaluation_work.hpp"
#include "actors/job_thread.hpp"
#include "actors/role_context.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <memory>
#include <stop_token>

namespace millrace::actors {

using evaluation_shell = evaluation_actor::extend<caf::reacts_to<continuation>>;

struct evaluation_shell_state {
  static constexpr const char* name = "evaluation";
  static constexpr int lower_priority = 10; ///< nice of its threads

  ~evaluation_shell_state() { stop.request_stop(); } // the thread is waited for

  std::shared_ptr<const evaluation_work> work;
  std::stop_source stop;
  std::unique_ptr<job_thread> thread; ///< last: it ends before what its jobs use
};

/// The actor around `evaluation_work`: pulls a version's weights, generates and scores on a thread of its own and tells
/// the coordinator how far it is. Stopped: the evaluation at hand ends at the next decode step. Overloaded: cannot be;
/// the coordinator sends one version at a time.
evaluation_shell::behavior_type make_evaluation(evaluation_shell::stateful_pointer<evaluation_shell_state> self,
                                                role_context context, std::shared_ptr<const evaluation_work> work);

} // namespace millrace::actors
