#pragma once

#include "runtime/schedule/config.hpp"
#include "runtime/schedule/event.hpp"

#include <algorithm>
#include <cstdint>

namespace millrace::schedule {

/// The staleness bound in the unit it is given in. Update `part` of step s lies behind version w by
///
///     step:   s - w
///     update: (s - w) minibatches + part
///     group:  (s - w) B + part_begin(part)
///
/// and may train what lies at most `stale.max` behind.
class age_limit {
public:
  explicit age_limit(const config& settings)
      : set_(settings), max_(static_cast<std::int64_t>(std::min(settings.stale.max, far))) {}

  /// The oldest version that the update may train; s + 1: not even its step's own. @pre settings.stale.bounded()
  version_id oldest(std::uint32_t step, std::uint32_t part) const;

  /// Groups that all updates of the run up to the last one that may train `version` have trained together.
  std::uint64_t trained_within(version_id version) const {
    return set_.clock.unit == lag_unit::step ? (std::uint64_t{version} + max_ + 1) * set_.groups_per_step
                                             : trained_within_updates(version);
  }

  /// Versions that every update of a step may lie behind; -1: the last one may not even train its step's own.
  std::int64_t versions() const;

private:
  std::uint64_t trained_within_updates(version_id version) const;

  static constexpr double far = 1e12; ///< further back than any run is long

  const config& set_;
  std::int64_t max_; ///< in the unit of the bound
};

} // namespace millrace::schedule
