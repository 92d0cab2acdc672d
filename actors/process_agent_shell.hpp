#pragma once

#include "actors/coordinator.hpp"
#include "actors/job_thread.hpp"
#include "actors/process_agent.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/transport/data_plane.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <functional>
#include <memory>
#include <string>

namespace millrace::actors {

struct process_agent_config {
  std::shared_ptr<const pipeline::pipeline> pipeline;
  std::uint64_t node = 0;
  std::shared_ptr<transport::data_plane> data;
  coordinator_actor coordinator;
  std::function<void(const std::string& why)> on_end; ///< the process is to end; on the agent's thread
};

struct process_agent_state {
  static constexpr const char* name = "process_agent";
  std::string transports;               ///< as last reported
  std::unique_ptr<job_thread> starting; ///< roles load here
};

/// Stopped: the process is about to end. Overloaded: cannot be; it gets a few messages a second.
process_agent_actor::behavior_type make_process_agent(process_agent_actor::stateful_pointer<process_agent_state> self,
                                                      process_agent_config config);

} // namespace millrace::actors
