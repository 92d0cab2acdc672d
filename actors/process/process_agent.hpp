#pragma once

#include "actors/protocol/actor.hpp"
#include "runtime/messages/run.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/transport/data_plane.hpp"

#include <functional>
#include <memory>
#include <string>

namespace millrace::actors {

struct process_agent_config {
  std::shared_ptr<const pipeline::pipeline> pipeline;
  node_id node = 0;
  std::shared_ptr<transport::data_plane> data;
  handle<decides> coordinator;
  starter start;                                      ///< starts the actors of the roles
  std::function<void(const std::string& why)> on_end; ///< the process is to end; on the agent's thread
};

/// The actor that every process has: see `hosts_roles`. Stopped: the process is about to end. Overloaded: cannot be; it
/// gets a few messages a second.
actor::setup process_agent(process_agent_config config);

} // namespace millrace::actors
