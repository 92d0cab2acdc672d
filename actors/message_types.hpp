#pragma once

#include <caf/actor_system_config.hpp>

namespace millrace::actors {

/// Registers every message of the actors: a type that is missing here arrives at another process as an empty message.
void add_message_types(caf::actor_system_config& config);

} // namespace millrace::actors
