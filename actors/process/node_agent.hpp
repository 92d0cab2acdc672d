#pragma once

#include "actors/protocol/actor.hpp"
#include "runtime/cluster/child_process.hpp"
#include "runtime/cluster/credentials.hpp"
#include "runtime/messages/node.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace millrace::actors {

/// The processes of a node and whose they are. Shared with the watcher's thread.
class node_processes {
public:
  /// @param secret passed on to every process
  explicit node_processes(const cluster::root_key& secret);

  /// @throws input_error if this host does not have the GPU that the process is to see
  std::int64_t start(const start_on_node& what);
  void kill(std::int64_t pid);
  void kill_all_of(const address& coordinator);

private:
  struct owner {
    role_instance role;
    std::string host;
    handle<decides> coordinator;
  };

  void ended(const cluster::child_exit& exit);

  std::string secret_; ///< as the environment carries it
  std::mutex mutex_;
  std::map<std::int64_t, owner> owners_;
  cluster::child_processes children_; ///< last: its watcher uses the rest
};

/// How long a process may live after its coordinator has gone (NA-1).
inline constexpr std::chrono::seconds grace_after_coordinator{3};

struct node_agent_config {
  std::shared_ptr<node_processes> processes;
  /// The node is to end; on the agent's thread. @param told its run is over; false: nobody uses it any more
  std::function<void(bool told)> on_end;
};

/// The actor of `millrace node`: see `starts_processes`. Stopped: kills what it started.
actor::setup node_agent(node_agent_config config);

} // namespace millrace::actors
