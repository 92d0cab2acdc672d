#include "runtime/schedule/age_limit.hpp"

namespace millrace::schedule {

namespace {

/// The least w >= 0 with w per >= behind.
version_id at_least(std::int64_t behind, std::int64_t per) {
  return behind <= 0 ? 0 : static_cast<version_id>((behind + per - 1) / per);
}

} // namespace

version_id age_limit::oldest(std::uint32_t step, std::uint32_t part) const {
  switch (set_.clock.unit) {
  case lag_unit::step:
    return at_least(step - max_, 1);
  case lag_unit::update:
    return at_least(std::int64_t{step} * set_.clock.minibatches + part - max_, set_.clock.minibatches);
  case lag_unit::group:
    return at_least(std::int64_t{step} * set_.groups_per_step + set_.part_begin(part) - max_, set_.groups_per_step);
  }
  return 0;
}

std::uint64_t age_limit::trained_within_updates(version_id version) const {
  const std::uint64_t size = set_.groups_per_step, updates = set_.clock.minibatches;
  const auto max = static_cast<std::uint64_t>(max_);
  if (set_.clock.unit == lag_unit::update) {
    const auto last = version * updates + max;
    return last / updates * size + set_.part_begin(static_cast<std::uint32_t>(last % updates) + 1);
  }
  const auto before = version * size + max;                     // groups trained before its last update, at most
  const auto part = ((before % size + 1) * updates - 1) / size; // the last one that begins at or before them
  return before / size * size + set_.part_begin(static_cast<std::uint32_t>(part) + 1);
}

std::int64_t age_limit::versions() const {
  const auto last = set_.clock.minibatches - 1;
  switch (set_.clock.unit) {
  case lag_unit::step:
    return max_;
  case lag_unit::update:
    return max_ < last ? -1 : (max_ - last) / set_.clock.minibatches;
  case lag_unit::group:
    return max_ < set_.part_begin(last) ? -1 : (max_ - set_.part_begin(last)) / set_.groups_per_step;
  }
  return -1;
}

} // namespace millrace::schedule
