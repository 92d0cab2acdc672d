#pragma once

#include "runtime/collective/membership.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/roles/abilities.hpp"
#include "runtime/train/team.hpp"
#include "runtime/transport/data_plane.hpp"
#include "runtime/words/role_instance.hpp"

#include <chrono>
#include <filesystem>
#include <memory>

namespace millrace::roles {

/// What a role is made from.
struct role_setup {
  std::shared_ptr<const pipeline::pipeline> pipeline;
  role_instance who;
  std::shared_ptr<transport::data_plane> data;
  std::filesystem::path checkpoint = {}; ///< what a role with state goes on from; "" = from its model
  role_events events = {};

  const pipeline::role& role() const { return pipeline->at(who.role); }

  /// How long a pull may take.
  std::chrono::milliseconds deadline() const;

  /// Threads for the heavy work of this role, on this host.
  int threads() const;

  /// Its place among the ranks of the role; nullptr: the role is one process.
  std::shared_ptr<collective::membership> membership() const;

  /// Its seat in the team of the role's ranks.
  train::team_seat seat(std::shared_ptr<collective::group_source> others) const;
};

} // namespace millrace::roles
