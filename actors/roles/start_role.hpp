#pragma once

#include "actors/protocol/actor.hpp"
#include "runtime/messages/run.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/roles/abilities.hpp"
#include "runtime/transport/data_plane.hpp"

#include <filesystem>
#include <memory>

namespace millrace::actors {

/// A role that is to live in this process.
struct role_order {
  std::shared_ptr<const pipeline::pipeline> pipeline;
  role_instance who;
  node_id node = 0;
  std::shared_ptr<transport::data_plane> data;
  std::filesystem::path checkpoint; ///< where its state goes on; "" = it begins
};

/// Loads a role and starts its actor, then tells the coordinator what it can do (`role_ready`). Takes as long as
/// loading a model takes: call it on a thread of its own. What goes wrong is told as `role_failed`.
/// @returns the role, where it serves clients outside of the run
std::shared_ptr<roles::outward> start_role(const starter& start, const role_order& order,
                                           const handle<decides>& coordinator);

} // namespace millrace::actors
