#pragma once

#include "runtime/columns/version_pulls.hpp"
#include "runtime/messages/weights.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/transport/data_plane.hpp"
#include "runtime/words/ids.hpp"

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

namespace millrace::roles {

/// Versions of the policy's weights that stay available: the newest, and where a reference follows the one before.
std::size_t versions_kept(const pipeline::pipeline& p);

/// Whether the policy publishes what differs between versions: not where it publishes adapters.
bool publishes_deltas(const pipeline::pipeline& p);

/// Whether all who take the policy's versions are in its own process: they need no checksums.
bool taken_here(const pipeline::pipeline& p);

/// Whether they also take the numbers as they are trained: a version needs no copy.
bool taken_in_place(const pipeline::pipeline& p);

/// The model that the policy's adapters stand on, which are published in place of whole versions; empty: it trains
/// none.
std::filesystem::path adapter_base(const pipeline::pipeline& p);

/// The parts of versions that whoever takes weights pulls. @param deltas also those, for which it keeps a version
columns::version_pulls::parts parts_pulled(const pipeline::pipeline& p, bool deltas);

/// The versions of the weights that a role has published. Lets go of those that all have, and of old ones, but for
/// those that are held. Thread-safe.
class published_versions {
public:
  /// @param kept the newest ones, for pulls that are under way, >= 1. A rollout that comes too late for a version takes
  ///             the next one; a reference that follows takes each
  /// @param deltas a version is published with what differs from the one before
  published_versions(std::shared_ptr<transport::data_plane> data, std::size_t kept, bool deltas = false,
                     transport::checksums sums = transport::checksums::computed)
      : data_(std::move(data)), kept_(kept), deltas_(deltas), sums_(sums) {}

  /// Lets go of what the next version pushes out, so that its copy finds room.
  void make_room();

  ticket publish(version_id version, transport::bundle parameters);

  /// All parameters of a version, with its adapter, or its delta where that takes less than half of their bytes.
  /// @param adapter that makes the version out of the policy's base
  weight_shares publish_whole(version_id version, const transport::bundle& parameters,
                              std::optional<transport::bundle> adapter = std::nullopt);

  /// What is pulled of the newest version where a part of it is enough, as a share of its bytes; 1: all of it.
  double published_share() const;
  void hold(const hold_weights& ask);

  /// Where several versions are kept, a reference that comes up late may want any of them: all stay.
  void let_go(const weights_taken& what);

  std::set<version_id> held() const;

  /// Holds these versions and no others.
  void hold_only(std::set<version_id> versions);

private:
  struct published {
    version_id version = 0;
    std::uint64_t ticket = 0;
    std::uint64_t part = 0; ///< the ticket of its delta or adapter; 0: none
    bool taken = false;     ///< all have it
  };

  /// Beside the newest version. The lock is held.
  ticket publish_part(transport::bundle part, const transport::bundle& whole);
  void let_go_of_old(std::size_t kept); ///< the lock is held

  std::shared_ptr<transport::data_plane> data_;
  std::size_t kept_;
  bool deltas_;
  transport::checksums sums_;
  std::optional<std::pair<version_id, transport::bundle>> newest_; ///< of which the next delta is
  double published_share_ = 1;
  mutable std::mutex mutex_;
  std::deque<published> published_; ///< the oldest first
  std::set<version_id> held_;
};

} // namespace millrace::roles
