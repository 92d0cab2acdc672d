#pragma once

#include "runtime/schedule/filled_iterator.hpp"
#include "runtime/words/ids.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

namespace millrace::schedule {

/// Answer tokens that one version sampled.
struct version_tokens {
  version_id version = 0;
  std::int64_t tokens = 0;

  bool operator==(const version_tokens&) const = default;
};

/// Answer tokens of a group by the version that sampled them: a count for each version from the oldest to the newest
/// that has any, so that thousands of groups a second can be told with hundreds of versions each.
class version_counts {
public:
  using iterator = filled_iterator<version_tokens, std::uint32_t>; ///< versions with tokens, ascending

  version_counts() = default;
  version_counts(std::initializer_list<version_tokens> parts);

  /// @throws std::invalid_argument for a count below 0, one of 2^32 or more for a version, or versions further apart
  /// than a group's can be
  void add(version_id version, std::int64_t tokens);
  void add(const version_counts& more);

  void clear() { counts_.clear(); }

  /// Counts from `oldest` on, to be written by the caller, the first and the last of them above 0: what they are before
  /// is not said.
  std::span<std::uint32_t> reset(version_id oldest, std::size_t versions);

  bool empty() const { return counts_.empty(); } ///< no token

  version_id oldest() const { return oldest_; } ///< @pre not empty

  version_id newest() const { return oldest_ + static_cast<version_id>(counts_.size()) - 1; } ///< @pre not empty

  std::span<const std::uint32_t> counts() const { return counts_; } ///< of oldest(), oldest() + 1, ..., newest()

  std::int64_t sum() const;

  iterator begin() const { return {counts_, oldest_, 0}; }

  iterator end() const { return {counts_, oldest_, counts_.size()}; }

  bool operator==(const version_counts& other) const;

private:
  version_id oldest_ = 0;
  std::vector<std::uint32_t> counts_;
};

} // namespace millrace::schedule
