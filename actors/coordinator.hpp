#pragma once

#include "actors/coordination.hpp"
#include "actors/critic.hpp"
#include "actors/evaluation.hpp"
#include "actors/policy.hpp"
#include "actors/process_agent.hpp"
#include "actors/reference.hpp"
#include "actors/rollout.hpp"
#include "actors/source.hpp"
#include "actors/stage.hpp"

#include <caf/typed_actor.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::actors {

// -- messages -----------------------------------------------------------------

/// The coordinator is published: start roles and processes. run -> coordinator, once.
struct begin_run {
  std::uint16_t outer_port = 0; ///< where processes on other hosts find the coordinator, over TLS; 0 = there are none
};

template <class Inspector>
auto inspect(Inspector& f, begin_run& x) {
  return f(caf::meta::type_name("begin_run"), x.outer_port);
}

/// A process that was started for a role asks what to do. agent -> coordinator.
struct join_run {
  std::string token; ///< given to the process when it was started: nobody else is let in
  role_instance role;
};

template <class Inspector>
auto inspect(Inspector& f, join_run& x) {
  return f(caf::meta::type_name("join_run"), x.token, x.role);
}

/// Answers `join_run`.
struct welcome {
  std::uint64_t node = 0;            ///< of the process's data plane
  std::vector<std::uint8_t> run_key; ///< 32 bytes
  std::string pipeline;              ///< the resolved file
  std::string bind;                  ///< data plane: address to listen on; "" = loopback
};

template <class Inspector>
auto inspect(Inspector& f, welcome& x) {
  return f(caf::meta::type_name("welcome"), x.node, x.run_key, x.pipeline, x.bind);
}

/// A process's data plane runs. agent -> coordinator; answered by `start_roles` once every other process knows it.
struct process_up {
  std::uint64_t node = 0;
  std::int64_t pid = 0;
  std::string host; ///< "" = this host
  process_agent_actor agent;
  std::vector<std::uint8_t> address;
  std::vector<role_instance> roles; ///< that it was started for
};

template <class Inspector>
auto inspect(Inspector& f, process_up& x) {
  return f(caf::meta::type_name("process_up"), x.node, x.pid, x.host, x.agent, x.address, x.roles);
}

/// A rollout can take groups. rollout -> coordinator.
struct rollout_ready {
  role_instance who;
  std::uint64_t node = 0;
  rollout_actor handle;
  std::uint32_t capacity_groups = 1;
};

template <class Inspector>
auto inspect(Inspector& f, rollout_ready& x) {
  return f(caf::meta::type_name("rollout_ready"), x.who, x.node, x.handle, x.capacity_groups);
}

/// A stage can take groups. stage -> coordinator.
struct stage_ready {
  role_instance who;
  std::uint64_t node = 0;
  stage_actor handle;
};

template <class Inspector>
auto inspect(Inspector& f, stage_ready& x) {
  return f(caf::meta::type_name("stage_ready"), x.who, x.node, x.handle);
}

/// Both halves of a critic are there. critic -> coordinator.
struct critic_ready {
  role_instance who;
  std::uint64_t node = 0;
  stage_actor values;
  critic_actor handle;
  std::uint64_t parameters = 0; ///< how many numbers it trains
};

template <class Inspector>
auto inspect(Inspector& f, critic_ready& x) {
  return f(caf::meta::type_name("critic_ready"), x.who, x.node, x.values, x.handle, x.parameters);
}

/// Both halves of a reference that follows the policy are there. reference -> coordinator.
struct reference_ready {
  role_instance who;
  std::uint64_t node = 0;
  stage_actor scores;
  reference_actor handle;
};

template <class Inspector>
auto inspect(Inspector& f, reference_ready& x) {
  return f(caf::meta::type_name("reference_ready"), x.who, x.node, x.scores, x.handle);
}

/// The learner holds its parameters. policy -> coordinator.
struct policy_ready {
  role_instance who;
  std::uint64_t node = 0;
  policy_actor handle;
  std::uint64_t parameters = 0; ///< how many numbers it trains
};

template <class Inspector>
auto inspect(Inspector& f, policy_ready& x) {
  return f(caf::meta::type_name("policy_ready"), x.who, x.node, x.handle, x.parameters);
}

/// An evaluation has its rows. evaluation -> coordinator.
struct evaluation_ready {
  role_instance who;
  std::uint64_t node = 0;
  evaluation_actor handle;
  std::uint64_t rows = 0;
};

template <class Inspector>
auto inspect(Inspector& f, evaluation_ready& x) {
  return f(caf::meta::type_name("evaluation_ready"), x.who, x.node, x.handle, x.rows);
}

/// How far an evaluation is, about once a second. evaluation -> coordinator.
struct evaluation_progress {
  role_instance who;
  std::uint32_t version = 0;
  std::uint64_t done = 0; ///< rows
  std::uint64_t rows = 0;
};

template <class Inspector>
auto inspect(Inspector& f, evaluation_progress& x) {
  return f(caf::meta::type_name("evaluation_progress"), x.who, x.version, x.done, x.rows);
}

/// A role cannot start or go on, and starting it again would not help. any role -> coordinator.
struct role_failed {
  role_instance who;
  std::string why; ///< one line
};

template <class Inspector>
auto inspect(Inspector& f, role_failed& x) {
  return f(caf::meta::type_name("role_failed"), x.who, x.why);
}

/// A placed process ended. run's child watcher, or the agent of its host -> coordinator.
struct process_ended {
  std::int64_t pid = 0;
  std::string host; ///< "" = this host
  role_instance role;
  std::string how; ///< "signal 9 (Killed)"
};

template <class Inspector>
auto inspect(Inspector& f, process_ended& x) {
  return f(caf::meta::type_name("process_ended"), x.pid, x.host, x.role, x.how);
}

/// A person pressed Ctrl-C, or the run cannot go on: stop now, with a checkpoint.
struct stop_run {
  std::string why;
};

template <class Inspector>
auto inspect(Inspector& f, stop_run& x) {
  return f(caf::meta::type_name("stop_run"), x.why);
}

/// The checkpoint lies under its final name, or the line that says why not. storage thread -> coordinator.
struct checkpoint_stored {
  std::uint32_t step = 0;
  std::string folder;
  std::string failure; ///< not empty: it was not written
};

template <class Inspector>
auto inspect(Inspector& f, checkpoint_stored& x) {
  return f(caf::meta::type_name("checkpoint_stored"), x.step, x.folder, x.failure);
}

// -- protocol -----------------------------------------------------------------

/// The one actor that decides. It hosts the scheduler (through `coordination`), knows every process and every role of the
/// run, and writes the run's files.
///
/// Invariants: those of `coordination`, and
/// - CR-1: every request it sends has a deadline; what passes it is treated as lost, with a line that says so.
/// - CR-2: a process that CAF declares dead has its data-plane connections closed in every other process.
/// - CR-3: only a process that holds the token it was started with joins.
/// - CR-4: no progress for `stall_after_s` prints who waits for what, on whom, since when.
using coordinator_actor
    = caf::typed_actor<caf::reacts_to<begin_run>, caf::replies_to<join_run>::with<welcome>, caf::reacts_to<process_up>,
                       caf::reacts_to<rollout_ready>, caf::reacts_to<stage_ready>, caf::reacts_to<policy_ready>,
                       caf::reacts_to<critic_ready>, caf::reacts_to<reference_ready>,
                       caf::reacts_to<evaluation_ready>, caf::reacts_to<evaluation_progress>,
                       caf::reacts_to<role_failed>, caf::reacts_to<process_ended>, caf::reacts_to<group_generated>,
                       caf::reacts_to<group_interrupted>, caf::reacts_to<process_report>,
                       caf::reacts_to<checkpoint_stored>, caf::reacts_to<stop_run>, caf::reacts_to<caf::tick_atom>>;

} // namespace millrace::actors
