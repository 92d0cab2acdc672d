#pragma once

#include "actors/role_context.hpp"

#include <caf/actor_system.hpp>

#include <cstdint>

namespace millrace::actors {

/// Loads and starts a role, then tells the coordinator (`rollout_ready`, `stage_ready`, `policy_ready`). Takes as long as
/// loading a model takes: call it on a thread of its own. What goes wrong is told as `role_failed`.
void start_role(caf::actor_system& system, role_context context);

/// Groups that a rollout may hold at once: as many as fill its slots, and one more so that a slot that falls free finds
/// an answer waiting.
std::uint32_t capacity_groups(const pipeline::rollout_table& table);

} // namespace millrace::actors
