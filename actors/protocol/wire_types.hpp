#pragma once

#include "actors/protocol/envelope.hpp"

#include <caf/fwd.hpp>

#include <string>
#include <vector>

namespace millrace::actors {

/// How messages travel to other processes: the number of their type, then their fields. Both sides are the same
/// program.

/// Tells CAF of the one type of message that there is. Before the actor system is made.
void add_envelope(caf::actor_system_config& config);

/// Names of all types that may travel, in the order of their numbers.
std::vector<std::string> wire_types();

/// @throws std::invalid_argument for a type that does not travel
std::vector<char> to_wire(caf::actor_system& system, const envelope& what);

/// @throws std::runtime_error for bytes that are no message
envelope from_wire(caf::actor_system& system, std::vector<char> bytes);

} // namespace millrace::actors
