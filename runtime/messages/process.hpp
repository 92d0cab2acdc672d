#pragma once

#include "runtime/messages/protocol.hpp"
#include "runtime/telemetry/in_flight.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/words/peer_lane.hpp"
#include "runtime/words/role_instance.hpp"
#include "runtime/words/wait_record.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace {

/// Where a process's bundles are to be pulled from. coordinator -> agent of every process.
struct peer_up {
  std::uint64_t node = 0;
  std::vector<std::uint8_t> address; ///< data_plane::address() of that process
};

/// Answers `peer_up`.
struct peer_known {
  std::uint64_t node = 0;
};

/// A process is dead, as the coordinator decided: close what there is with it. coordinator -> agent of every process.
struct peer_gone {
  std::uint64_t node = 0;
};

/// Bundles that nobody needs any more. coordinator -> agent of their owner.
struct release_bundles {
  std::vector<std::uint64_t> ids;
};

/// Every other process knows this one: start the roles. coordinator -> agent.
struct start_roles {
  std::vector<role_instance> roles;
  std::string checkpoint; ///< folder that the policy goes on from; "" = from its model
};

/// The run is over, or this life of the process is not wanted: end. coordinator -> agent.
struct end_process {
  std::string why;
};

/// The run is about to end: say what has happened since the last report. coordinator -> agent, which answers with one.
struct report_now {};

/// What happened in a process since its last report: each second, and when asked. agent -> coordinator.
struct process_report {
  std::uint64_t node = 0;
  telemetry::trace_batch trace;
  std::vector<wait_record> waits;
  double now_s = 0;                                   ///< the process's own monotonic clock when it sent this
  std::vector<peer_lane> lanes;                       ///< that are new or have changed since the last report
  std::vector<telemetry::in_flight_report> in_flight; ///< groups that its roles have
};

/// One in each process: knows the process's data plane and starts its roles.
///
/// Invariants
/// - PA-1: a role is started only after every process of the run can be pulled from.
/// - PA-2: when the coordinator is gone, the process ends: no orphan trains on.
using hosts_roles = protocol<asked<peer_up, peer_known>, told<peer_gone>, told<release_bundles>, told<start_roles>,
                             told<end_process>, asked<report_now, process_report>>;

} // namespace millrace
