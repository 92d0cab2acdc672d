#pragma once

#include "runtime/schedule/config.hpp"
#include "runtime/schedule/event.hpp"

#include <cstdint>

namespace millrace::schedule {

/// The staleness bound in the unit it is given in. Update `part` of step s lies behind version w by
///
///     step:   s - w
///     update: (s - w) minibatches + part
///     group:  (s - w) B + part_begin(part)
///
/// and may train what lies at most `stale_max` behind.
class age_limit {
public:
  explicit age_limit(const config& settings) : set_(settings) {}

  /// The oldest version that the update may train; s + 1: not even its step's own. @pre settings.bounded()
  version_id oldest(std::uint32_t step, std::uint32_t part) const;

  /// Groups that all updates of the run up to the last one that may train `version` have trained together.
  std::uint64_t trained_within(version_id version) const {
    return set_.unit == lag_unit::step ? (std::uint64_t{version} + set_.stale_max + 1) * set_.groups_per_step : trained_within_updates(version);
  }

  /// Versions that every update of a step may lie behind; -1: the last one may not even train its step's own.
  std::int64_t versions() const;

private:
  std::uint64_t trained_within_updates(version_id version) const;

  const config& set_;
};

} // namespace millrace::schedule
