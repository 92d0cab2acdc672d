#pragma once

#include "actors/protocol/actor.hpp"
#include "runtime/messages/run.hpp"
#include "runtime/roles/abilities.hpp"
#include "runtime/transport/data_plane.hpp"

#include <chrono>
#include <memory>

namespace millrace::actors {

/// What the actor around a role needs beside the role's abilities.
struct role_place {
  role_instance who;
  node_id node = 0;
  std::shared_ptr<transport::data_plane> data;
  std::chrono::milliseconds deadline{0}; ///< of pulls
};

/// The actor around a role, whatever its kind: hands each message to the ability that it belongs to, and answers with
/// what that ability makes of it. Stopped: what is asked and not answered stays so; the coordinator sees this actor's
/// end. Overloaded: requests queue in the role's own threads.
actor::setup role_actor(role_place place, roles::role_abilities abilities);

/// What a role with these abilities tells the coordinator once its actor runs at `where`.
role_ready ready_message(const role_place& place, const roles::role_abilities& abilities, const address& where);

} // namespace millrace::actors
