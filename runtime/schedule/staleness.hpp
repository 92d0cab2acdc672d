#pragma once

#include "runtime/schedule/event.hpp"

#include <cstdint>
#include <map>
#include <vector>

namespace millrace::schedule {

/// Staleness at use: s - version, where s is the version of the learner's weights when the batch was cut. That of a
/// group is that of its oldest token = in_flight (newest - oldest token version) + in_queue (s - newest token version).
struct staleness {
  struct bucket {
    std::int64_t groups = 0;
    std::int64_t tokens = 0;

    bool operator==(const bucket&) const = default;
  };

  std::map<std::uint32_t, bucket> at_use; ///< versions -> groups by oldest token, tokens by their own version
  std::int64_t in_flight = 0;             ///< summed over groups, versions
  std::int64_t in_queue = 0;              ///< summed over groups, versions

  /// One group used at `step`: the tokens that are trained, by ascending version. `born` stands for both ends when there
  /// is none.
  void add(std::uint32_t step, version_id born, const std::vector<version_tokens>& tokens);

  double mean_by_group() const; ///< 0 before the first
  double mean_by_token() const; ///< 0 before the first
  std::uint32_t max() const;    ///< over groups and tokens

  bool operator==(const staleness&) const = default;
};

} // namespace millrace::schedule
