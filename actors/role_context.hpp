#pragma once

#include "actors/coordinator.hpp"
#include "actors/role_instance.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/transport/data_plane.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>

namespace millrace::actors {

/// What every role is started with.
struct role_context {
  std::shared_ptr<const pipeline::pipeline> pipeline;
  role_instance who;
  std::uint64_t node = 0;
  std::shared_ptr<transport::data_plane> data;
  coordinator_actor coordinator;
  std::filesystem::path checkpoint; ///< policy: where to go on; "" = from the model's own weights

  const pipeline::role& role() const { return pipeline->at(who.role); }

  std::chrono::milliseconds deadline() const {
    return std::chrono::milliseconds(static_cast<std::int64_t>(pipeline->run.request_deadline_s * 1000));
  }

  /// Threads for the heavy work of this role, on this host.
  int threads() const;
};

} // namespace millrace::actors
