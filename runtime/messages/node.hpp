#pragma once

#include "runtime/messages/run.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace {

/// Starts a process for a role on this host. coordinator -> node.
struct start_on_node {
  role_instance role;
  std::string token;            ///< the process joins with it
  std::string host;             ///< the node's name in the placement
  std::string coordinator_host; ///< where the process finds the coordinator, over TLS
  std::uint16_t coordinator_port = 0;
  handle<decides> coordinator; ///< told when the process ends
  std::uint32_t heartbeat_ms = 200;
  std::uint32_t peer_timeout_ms = 2000;
  std::int64_t gpu = -1; ///< the one of this host's GPUs that the process sees, from 0; -1: all of them
};

/// Answers `start_on_node`.
struct started_on_node {
  std::int64_t pid = 0;
};

/// Asks whether this host can read the models of roles that are to start here. run -> node, before anything starts.
struct check_models {
  std::string pipeline;           ///< resolved, as `welcome` has it
  std::vector<std::string> roles; ///< their names, at least one
  bool from_checkpoint = false;   ///< they begin with what a checkpoint holds
};

/// Answers `check_models`.
struct models_checked {
  std::string role; ///< the first that cannot read its model; "": all can
  std::string why;  ///< one line with the path
};

/// Ends a process that was started here. coordinator -> node.
struct kill_on_node {
  std::int64_t pid = 0;
};

/// Ends a node: its run is over, or a signal asks for it. who started the node, or itself -> node.
struct end_node {
  bool if_unused = false; ///< not before the runs that it has started processes for are gone
};

/// Answers `end_node`: the node ends now or later.
struct node_ends {};

/// What `millrace node` runs: starts roles of runs that hold the same secret.
///
/// Invariants
/// - NA-1: a process that this node started ends when its coordinator is gone or when this node ends. The process ends
///   by itself. If it is still there some seconds after the coordinator went, the node kills it.
/// - NA-2: the coordinator hears of the end of each of its processes once.
using starts_processes = protocol<asked<check_models, models_checked>, asked<start_on_node, started_on_node>,
                                  told<kill_on_node>, asked<end_node, node_ends>>;

} // namespace millrace
