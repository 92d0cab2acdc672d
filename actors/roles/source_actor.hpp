#pragma once

#include "actors/protocol/actor.hpp"
#include "runtime/messages/prompts.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/transport/data_plane.hpp"

#include <memory>
#include <optional>

namespace millrace::actors {

/// The actor of the role that gives prompts: see `gives_prompts`. It lives in the run's own process and publishes each
/// prompt there.
/// @param from where to go on after a resume; nothing: from the first prompt
/// @throws input_error if the data cannot be opened, is empty, or is not what `from` was saved with
actor::setup source_actor(const pipeline::pipeline& p, std::shared_ptr<transport::data_plane> data,
                          std::optional<source_position> from);

} // namespace millrace::actors
