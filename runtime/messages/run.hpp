#pragma once

#include "runtime/messages/abilities.hpp"
#include "runtime/messages/process.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace {

/// The coordinator can be found by other processes: start roles and processes. run -> coordinator, once.
struct begin_run {
  std::uint16_t outer_port = 0; ///< where processes on other hosts find the coordinator, over TLS; 0 = there are none
};

/// A process that was started for a role asks for its orders. agent -> coordinator.
struct join_run {
  std::string token; ///< given to the process when it was started: nobody else is let in
  role_instance role;
};

/// Answers `join_run`.
struct welcome {
  node_id node = 0;                  ///< of the process's data plane
  std::vector<std::uint8_t> run_key; ///< 32 bytes
  std::string pipeline;              ///< the resolved file
  std::string bind;                  ///< data plane: address to listen on; "" = loopback
};

/// A process's data plane runs. agent -> coordinator; answered by `start_roles` once every other process knows it.
struct process_up {
  node_id node = 0;
  std::int64_t pid = 0;
  std::string host; ///< "" = this host
  handle<hosts_roles> agent;
  std::vector<std::uint8_t> address;
  std::vector<role_instance> roles; ///< that it was started for
};

/// A role cannot start or go on, and starting it again would not help. any role -> coordinator.
struct role_failed {
  role_instance who;
  std::string why;       ///< one line
  bool at_start = false; ///< it was never ready: what it starts from may be at fault
};

/// A process that has joined cannot go on: a model that is not on its host, a network that is not up yet. It ends after
/// this, and is started again as any that dies. If that does not help, these are the run's last words.
/// agent -> coordinator.
struct process_failed {
  role_instance role;
  std::string host; ///< "" = this host
  std::string why;  ///< one line
};

/// Answers `process_failed`: the run knows.
struct failure_noted {};

/// A placed process ended. run's child watcher, or the agent of its host -> coordinator.
struct process_ended {
  std::int64_t pid = 0;
  std::string host; ///< "" = this host
  role_instance role;
  std::string how; ///< "signal 9 (Killed)"
};

/// A person pressed Ctrl-C, or the run cannot go on: stop now, with a checkpoint.
struct stop_run {
  std::string why;
};

/// A node that the run did not start with offers itself. node -> coordinator.
struct join_as_node {
  std::string host; ///< ADDRESS:PORT at which it listens
  address node;     ///< speaks `starts_processes`
};

/// Answers `join_as_node`.
struct joined_as_node {
  std::string in_place_of; ///< the node whose processes it starts; "" = it has none until another is lost
};

/// The messages that the coordinator takes.
///
/// Invariants: those of `group_router`, and
/// - CR-1: every request has a deadline. When the deadline passes, the coordinator treats the request as lost and
///   prints a line.
/// - CR-2: a process that is declared dead has its data-plane connections closed in every other process.
/// - CR-3: only a process that holds the token it was started with joins.
/// - CR-4: no progress for `stall_after_s` prints who waits for what, on whom, since when.
using decides =
    protocol<told<begin_run>, asked<join_run, welcome>, told<process_up>, told<role_ready>, told<role_failed>,
             asked<process_failed, failure_noted>, told<process_ended>, told<group_generated>, told<group_interrupted>,
             told<generation_lost>, told<evaluation_progress>, told<rank_word>, asked<join_as_node, joined_as_node>,
             told<ranks_lost>, told<process_report>, told<checkpoint_stored>, told<stop_run>>;

} // namespace millrace
