#include "runtime/schedule/age_limit.hpp"

namespace millrace::schedule {

namespace {

/// The least w >= 0 with w per >= behind.
version_id at_least(std::int64_t behind, std::int64_t per) {
  return behind <= 0 ? 0 : static_cast<version_id>((behind + per - 1) / per);
}

} // namespace

version_id age_limit::oldest(std::uint32_t step, std::uint32_t part) const {
  const std::int64_t max = set_.stale_max;
  switch (set_.unit) {
    case lag_unit::step: return at_least(step - max, 1);
    case lag_unit::update: return at_least(std::int64_t{step} * set_.minibatches + part - max, set_.minibatches);
    case lag_unit::group: return at_least(std::int64_t{step} * set_.groups_per_step + set_.part_begin(part) - max, set_.groups_per_step);
  }
  return 0;
}

std::uint64_t age_limit::trained_within_updates(version_id version) const {
  const std::uint64_t size = set_.groups_per_step, updates = set_.minibatches, max = set_.stale_max;
  if (set_.unit == lag_unit::update) {
    const auto last = version * updates + max;
    return last / updates * size + set_.part_begin(static_cast<std::uint32_t>(last % updates) + 1);
  }
  const auto before = version * size + max; // groups trained before its last update, at most
  const auto part = ((before % size + 1) * updates - 1) / size; // the last one that begins at or before them
  return before / size * size + set_.part_begin(static_cast<std::uint32_t>(part) + 1);
}

std::int64_t age_limit::versions() const {
  const auto last = set_.minibatches - 1;
  const std::int64_t max = set_.stale_max;
  switch (set_.unit) {
    case lag_unit::step: return max;
    case lag_unit::update: return max < last ? -1 : (max - last) / set_.minibatches;
    case lag_unit::group: return max < set_.part_begin(last) ? -1 : (max - set_.part_begin(last)) / set_.groups_per_step;
  }
  return -1;
}

} // namespace millrace::schedule
