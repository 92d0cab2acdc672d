#pragma once

#include "runtime/columns/weights_bundle.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace millrace::columns {

/// Pulls versions of the weights one after another, from another host less than all of them. Of one that comes with an
/// adapter it pulls that, and merges it with the base, which it reads from the model's own files. Of one that comes
/// with a delta from the version pulled before it pulls the delta alone. What comes out must have the checksums of the
/// version; where it has not, and where the part cannot be had, all of the version is pulled. A base that is missing or
/// leads elsewhere is told once, and not tried again.
///
/// Within a host the publisher's memory is read in place: that costs nothing, so no part is pulled and nothing is kept.
class version_pulls {
public:
  using poster = std::function<void(std::function<void()> work)>;

  struct parts {
    bool deltas = false;             ///< the newest version is kept as it came, for the next one's delta
    std::filesystem::path base = {}; ///< of the model that adapters stand on, which is kept; empty: there are none
  };

  /// @param aside runs what takes time on a thread that may block, one after another, or not at all
  version_pulls(transport::data_plane& data, parts what, poster aside);

  /// @param done as of `pull_weights`, or on the thread of `aside`
  void pull(std::uint32_t version, const weight_shares& from, std::chrono::milliseconds timeout,
            std::function<void(pulled_weights pulled, std::string error)> done);

private:
  struct asked_version;
  struct newest_version;
  struct kept_base;

  transport::data_plane& data_;
  std::shared_ptr<newest_version> newest_; ///< nullptr: nothing is kept
  std::shared_ptr<kept_base> base_;        ///< nullptr: there are no adapters
  poster aside_;
};

} // namespace millrace::columns
