#pragma once

#include "actors/protocol/actor.hpp"

#include <caf/fwd.hpp>

namespace millrace::actors {

/// The line of an error that an actor answered with, or CAF's own words for its own errors.
refusal refusal_of(const caf::error& error);

} // namespace millrace::actors
