#pragma once

#include "actors/continuation.hpp"
#include "actors/coordinator.hpp"
#include "runtime/cluster/child_process.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace millrace::actors {

// -- messages -----------------------------------------------------------------

/// Starts a process for a role on this host. coordinator -> node.
struct start_on_node {
  role_instance role;
  std::string token;             ///< the process joins with it
  std::string host;              ///< the node's name in the placement
  std::string coordinator_host;  ///< where the process finds the coordinator, over TLS
  std::uint16_t coordinator_port = 0;
  coordinator_actor coordinator; ///< told when the process ends
  std::uint32_t heartbeat_ms = 200;
  std::uint32_t peer_timeout_ms = 2000;
};

template <class Inspector>
auto inspect(Inspector& f, start_on_node& x) {
  return f(caf::meta::type_name("start_on_node"), x.role, x.token, x.host, x.coordinator_host, x.coordinator_port,
           x.coordinator, x.heartbeat_ms, x.peer_timeout_ms);
}

/// Answers `start_on_node`.
struct started_on_node {
  std::int64_t pid = 0;
};

template <class Inspector>
auto inspect(Inspector& f, started_on_node& x) {
  return f(caf::meta::type_name("started_on_node"), x.pid);
}

/// Ends a process that was started here. coordinator -> node.
struct kill_on_node {
  std::int64_t pid = 0;
};

template <class Inspector>
auto inspect(Inspector& f, kill_on_node& x) {
  return f(caf::meta::type_name("kill_on_node"), x.pid);
}

// -- protocol -----------------------------------------------------------------

/// What `millrace node` runs: starts roles of runs that hold the same secret.
///
/// Invariants
/// - NA-1: a process it started ends when the coordinator that asked for it is gone, or this node is. It ends by itself:
///   it is told, or notices; one that has not ended `grace` after the coordinator went is killed.
/// - NA-2: every end of a process is told to that coordinator once.
using node_actor = caf::typed_actor<caf::replies_to<start_on_node>::with<started_on_node>, caf::reacts_to<kill_on_node>>;

// -- behaviour ----------------------------------------------------------------

/// The processes of a node and whose they are. Shared with the watcher's thread.
class node_processes {
public:
  struct owner {
    role_instance role;
    std::string host;
    coordinator_actor coordinator;
  };

  /// @param secret_file passed on to every process
  explicit node_processes(std::string secret_file);

  std::int64_t start(const start_on_node& what);
  void kill(std::int64_t pid);
  void kill_all_of(const caf::actor_addr& coordinator);

private:
  void ended(const cluster::child_exit& exit);

  std::string secret_file_;
  std::mutex mutex_;
  std::map<std::int64_t, owner> owners_;
  cluster::child_processes children_; ///< last: its watcher uses the rest
};

using node_shell = node_actor::extend<caf::reacts_to<continuation>>;

struct node_agent_state {
  static constexpr std::chrono::seconds grace{3};
  static constexpr const char* name = "node_agent";
  std::shared_ptr<node_processes> processes;
};

/// Stopped: kills what it started.
node_shell::behavior_type make_node_agent(node_shell::stateful_pointer<node_agent_state> self,
                                          std::shared_ptr<node_processes> processes);

} // namespace millrace::actors
