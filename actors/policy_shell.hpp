#pragma once

#include "actors/continuation.hpp"
#include "actors/job_thread.hpp"
#include "actors/learning.hpp"
#include "actors/role_context.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <deque>
#include <memory>
#include <set>
#include <stop_token>
#include <utility>

namespace millrace::actors {

using policy_shell = policy_actor::extend<caf::reacts_to<continuation>>;

struct policy_shell_state {
  static constexpr const char* name = "policy";
  static constexpr std::size_t kept_versions = 2; ///< published bundles held for pulling

  ~policy_shell_state() { stop_training.request_stop(); } // the thread is waited for

  std::shared_ptr<learning> learner;
  std::stop_source stop_training;
  std::deque<std::pair<std::uint32_t, transport::ticket>> published; ///< by version, the oldest first
  std::set<std::uint32_t> held;                                      ///< versions not to be let go of
  std::unique_ptr<job_thread> thread; ///< last: it ends before what its jobs use
};

/// The actor around `learning`: training, publication and checkpoints are jobs of one thread, in the order asked for.
/// Stopped: the run cannot go on without it and ends with its last checkpoint. Overloaded: requests queue.
policy_shell::behavior_type make_policy(policy_shell::stateful_pointer<policy_shell_state> self, role_context context,
                                        std::shared_ptr<learning> learner);

} // namespace millrace::actors
