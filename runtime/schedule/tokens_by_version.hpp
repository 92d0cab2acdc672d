#pragma once

#include "runtime/schedule/event.hpp"
#include "runtime/schedule/inline_list.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace millrace::schedule {

/// Tokens of consecutive versions.
struct version_run {
  version_id first = 0;
  std::span<const std::uint32_t> tokens; ///< of first, first + 1, ...

  bool empty() const { return tokens.empty(); }
  version_id last() const { return first + static_cast<version_id>(tokens.size()) - 1; } ///< @pre not empty
};

/// Answer tokens of one group by the version that sampled them. Almost all groups have a few neighbouring versions, and at
/// thousands of places with small batches hundreds of them: a number for each from the oldest to the newest, 4 bytes.
class tokens_by_version {
public:
  /// @pre ascending versions; all counts below 2^32
  void assign(const std::vector<version_tokens>& tokens);
  void assign(version_id version, std::int64_t tokens);
  void clear() { tokens_.clear(); }

  /// Empty, or from the oldest version given to the newest.
  version_run all() const { return {first_, tokens_.all()}; }
  /// What of it is not older than `oldest`: from the oldest such version with tokens, or the newest of all.
  version_run since(version_id oldest) const;
  /// Tokens of versions before `oldest`.
  std::int64_t sum_before(version_id oldest) const;

private:
  version_id first_ = 0;
  inline_list<std::uint32_t, 4> tokens_;
};

} // namespace millrace::schedule
