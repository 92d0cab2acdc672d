#pragma once

#include "runtime/columns/weights_bundle.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace millrace::columns {

/// Pulls versions of the weights one after another: of one that comes with a delta from the version pulled before, the
/// delta alone. What a delta leads to must have the checksums of the version; where it has not, and where the delta
/// cannot be had, all of the version is pulled. So it is where the publisher's memory is read in place, within a host.
class version_pulls {
public:
  using poster = std::function<void(std::function<void()> work)>;

  /// @param keeps the newest version as it came, for the next one's delta
  /// @param aside runs what takes time on a thread that may block, or not at all
  version_pulls(transport::data_plane& data, bool keeps, poster aside);

  /// @param done as of `pull_weights`, or on the thread of `aside`
  void pull(std::uint32_t version, const weight_shares& from, std::chrono::milliseconds timeout,
            std::function<void(pulled_weights pulled, std::string error)> done);

private:
  struct newest_version;

  transport::data_plane& data_;
  std::shared_ptr<newest_version> newest_; ///< nullptr: nothing is kept
  poster aside_;
};

} // namespace millrace::columns
