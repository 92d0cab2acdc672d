#pragma once

#include "actors/role_context.hpp"

#include <caf/actor_system.hpp>

namespace millrace::actors {

/// Loads and starts a role, then tells the coordinator (`rollout_ready`, `stage_ready`, `policy_ready`). Takes as long as
/// loading a model takes: call it on a thread of its own. What goes wrong is told as `role_failed`.
void start_role(caf::actor_system& system, role_context context);

} // namespace millrace::actors
