#pragma once

#include "runtime/schedule/inline_list.hpp"
#include "runtime/schedule/version_counts.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace millrace::schedule {

/// Tokens of consecutive versions, as `tokens_by_version` keeps them.
struct version_run {
  version_id first = 0;
  std::uint8_t width = 1;              ///< bytes of a count: 1, 2 or 4
  std::span<const std::uint8_t> bytes; ///< counts of first, first + 1, ...

  bool empty() const { return bytes.empty(); }

  std::size_t size() const { return bytes.size() / width; }

  version_id last() const { return first + static_cast<version_id>(size()) - 1; } ///< @pre not empty

  /// Calls `visit(version, tokens)` for all of them, in ascending order.
  template <class Visit>
  void each(Visit&& visit) const {
    if (width == 1)
      each_of<std::uint8_t>(visit);
    else if (width == 2)
      each_of<std::uint16_t>(visit);
    else
      each_of<std::uint32_t>(visit);
  }

private:
  template <class Count, class Visit>
  void each_of(Visit& visit) const {
    for (std::size_t i = 0; i < bytes.size() / sizeof(Count); ++i) {
      Count count;
      std::memcpy(&count, bytes.data() + i * sizeof count, sizeof count);
      visit(first + static_cast<version_id>(i), std::uint32_t{count});
    }
  }
};

/// Answer tokens of one group by the version that sampled them: a number for each from the oldest to the newest, as
/// wide as the largest needs. Almost all groups have a few neighbouring versions, and at thousands of places with small
/// batches hundreds of them, with few tokens each.
class tokens_by_version {
public:
  void assign(const version_counts& tokens);

  void clear() { bytes_.clear(); }

  /// Empty, or from the oldest version given to the newest.
  version_run all() const { return {first_, width_, bytes_.all()}; }

  /// What of it is not older than `oldest`: from the oldest such version with tokens, or the newest of all.
  version_run since(version_id oldest) const;
  /// Tokens of versions before `oldest`.
  std::int64_t sum_before(version_id oldest) const;

private:
  template <class Count>
  void fill(const version_counts& tokens);

  version_id first_ = 0;
  inline_list<std::uint8_t, 12> bytes_;
  std::uint8_t width_ = 1;
};

} // namespace millrace::schedule
