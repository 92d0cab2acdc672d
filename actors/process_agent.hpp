#pragma once

#include "actors/role_instance.hpp"
#include "runtime/cluster/wire.hpp"

#include <caf/typed_actor.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::actors {

// -- messages -----------------------------------------------------------------

/// Where a process's bundles are to be pulled from. coordinator -> agent of every process.
struct peer_up {
  std::uint64_t node = 0;
  std::vector<std::uint8_t> address; ///< data_plane::address() of that process
};

template <class Inspector>
auto inspect(Inspector& f, peer_up& x) {
  return f(caf::meta::type_name("peer_up"), x.node, x.address);
}

/// Answers `peer_up`.
struct peer_known {
  std::uint64_t node = 0;
};

template <class Inspector>
auto inspect(Inspector& f, peer_known& x) {
  return f(caf::meta::type_name("peer_known"), x.node);
}

/// A process is dead, as CAF decided: close what there is with it. coordinator -> agent of every process.
struct peer_gone {
  std::uint64_t node = 0;
};

template <class Inspector>
auto inspect(Inspector& f, peer_gone& x) {
  return f(caf::meta::type_name("peer_gone"), x.node);
}

/// Bundles that nobody needs any more. coordinator -> agent of their owner.
struct release_bundles {
  std::vector<std::uint64_t> ids;
};

template <class Inspector>
auto inspect(Inspector& f, release_bundles& x) {
  return f(caf::meta::type_name("release_bundles"), x.ids);
}

/// Every other process knows this one: start the roles. coordinator -> agent.
struct start_roles {
  std::vector<role_instance> roles;
  std::string checkpoint; ///< folder that the policy goes on from; "" = from its model
};

template <class Inspector>
auto inspect(Inspector& f, start_roles& x) {
  return f(caf::meta::type_name("start_roles"), x.roles, x.checkpoint);
}

/// The run is over, or this life of the process is not wanted: end. coordinator -> agent.
struct end_process {
  std::string why;
};

template <class Inspector>
auto inspect(Inspector& f, end_process& x) {
  return f(caf::meta::type_name("end_process"), x.why);
}

/// The run is about to end: say what has happened since the last report. coordinator -> agent, which answers with one.
struct report_now {};

template <class Inspector>
auto inspect(Inspector& f, report_now&) {
  return f(caf::meta::type_name("report_now"));
}

/// What happened in a process since its last report: each second, and when asked. agent -> coordinator.
struct process_report {
  std::uint64_t node = 0;
  telemetry::trace_batch trace;
  std::vector<telemetry::wait_record> waits;
  double now_s = 0;            ///< the process's own monotonic clock when it sent this
  std::uint64_t bytes_pulled = 0; ///< over UCX, since it began
  std::uint64_t bytes_served = 0;
  std::string transports;      ///< what UCX chose for each peer; "" when nothing changed
  std::vector<telemetry::holding> holdings; ///< groups that its roles have
};

template <class Inspector>
auto inspect(Inspector& f, process_report& x) {
  return f(caf::meta::type_name("process_report"), x.node, x.trace, x.waits, x.now_s, x.bytes_pulled, x.bytes_served,
           x.transports, x.holdings);
}

// -- protocol -----------------------------------------------------------------

/// One per process: knows the process's data plane and starts its roles.
///
/// Invariants
/// - PA-1: a role is started only after every process of the run can be pulled from.
/// - PA-2: when the coordinator is gone, the process ends: no orphan trains on.
using process_agent_actor
    = caf::typed_actor<caf::replies_to<peer_up>::with<peer_known>, caf::reacts_to<peer_gone>,
                       caf::reacts_to<release_bundles>, caf::reacts_to<start_roles>, caf::reacts_to<end_process>,
                       caf::replies_to<report_now>::with<process_report>, caf::reacts_to<caf::tick_atom>>;

} // namespace millrace::actors
