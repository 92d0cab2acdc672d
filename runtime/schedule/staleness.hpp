#pragma once

#include "runtime/schedule/filled_iterator.hpp"
#include "runtime/schedule/tokens_by_version.hpp"

#include <cstdint>
#include <utility>
#include <vector>

namespace millrace::schedule {

/// How often each staleness occurred; counted in constant time.
class staleness_counts {
public:
  struct bucket {
    std::int64_t groups = 0;
    std::int64_t tokens = 0;

    bool operator==(const bucket&) const = default;
  };

  using iterator = filled_iterator<std::pair<std::uint32_t, bucket>, bucket>; ///< versions and their bucket, ascending

  bucket& operator[](std::uint32_t versions) {
    if (versions >= all_.size())
      all_.resize(versions + 1);
    return all_[versions];
  }

  /// An empty bucket where there is none.
  bucket at(std::uint32_t versions) const { return versions < all_.size() ? all_[versions] : bucket{}; }

  iterator begin() const { return {all_, 0, 0}; }

  iterator end() const { return {all_, 0, all_.size()}; }

  bool empty() const { return begin() == end(); }

  /// Tokens of versions none of which is newer than `step`.
  void add(std::uint32_t step, const version_run& tokens);
  std::uint32_t highest() const; ///< of the buckets that are not empty; 0: all are

  bool operator==(const staleness_counts& other) const;

private:
  std::vector<bucket> all_; ///< by versions
};

/// Staleness at use: s - version, where s is the version of the learner's weights when the batch was cut. That of a
/// group is that of its oldest token = in_flight (newest - oldest token version) + in_queue (s - newest token version).
struct staleness {
  using bucket = staleness_counts::bucket;

  staleness_counts at_use;    ///< versions -> groups by oldest token, tokens by their own version
  std::int64_t in_flight = 0; ///< summed over groups, versions
  std::int64_t in_queue = 0;  ///< summed over groups, versions

  /// One group used at `step`: the tokens that are trained. `born` stands for both ends when there is none.
  void add(std::uint32_t step, version_id born, const version_run& tokens);

  double mean_by_group() const; ///< 0 before the first
  double mean_by_token() const; ///< 0 before the first

  std::uint32_t max() const { return at_use.highest(); } ///< over groups and tokens

  bool operator==(const staleness&) const = default;
};

} // namespace millrace::schedule
