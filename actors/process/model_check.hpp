#pragma once

#include "actors/protocol/system.hpp"
#include "runtime/messages/node.hpp"
#include "runtime/pipeline/pipeline.hpp"

#include <map>
#include <string>

namespace millrace::actors {

/// What a node answers: it opens the models of these roles, as they do when they start, without weights.
models_checked models_of_this_host(const check_models& what);

/// Asks every node that is to start a role whether it can read that role's model, all at once, and looks at the models
/// of the roles of this host. Nothing has started yet.
/// @param nodes by the name that the placement gives them
/// @throws input_error naming host, role, path and reason; or a node that does not answer
void check_models_of_hosts(actor_system& system, const pipeline::pipeline& p,
                           const std::map<std::string, handle<starts_processes>>& nodes, bool from_checkpoint);

} // namespace millrace::actors
