#include "runtime/schedule/batch_rule.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>

namespace millrace::schedule {

batch_rule::batch_rule(const config& wanted)
    : size_(wanted.groups_per_step), stale_max_(wanted.stale_max), order_(wanted.select),
      // A round that ends with its batch leaves nobody behind.
      waits_(wanted.action == stale_action::wait && wanted.bounded() &&
             (wanted.stop == tail_stop::all || wanted.surplus == tail_surplus::recycle_partial)) {}

// -- in_order ---------------------------------------------------------------------------------------

void batch_rule::look_on_from(group_id group) {
  const auto end = marks_.end();
  for (; group < end; ++group)
    if (const auto* found = marks_.find(group)) {
      if (*found == mark::waiting)
        break;
      ++leading_ready_;
    }
  first_waiting_ = group;
}

void batch_rule::mark_waiting(group_id group) {
  const bool none_waits = waiting_ == 0;
  auto* found = marks_.find(group);
  const bool was_ready = found != nullptr;
  if (found)
    *found = mark::waiting;
  else
    marks_.insert(group) = mark::waiting;
  if (!none_waits && group > first_waiting_)
    return;
  if (none_waits && !was_ready && group + 1 == marks_.end()) {
    first_waiting_ = group; // the newest of all: whatever is ready stands before it
    leading_ready_ = ready_;
    return;
  }
  leading_ready_ = 0;
  look_on_from(marks_.lowest());
}

void batch_rule::mark_ready(group_id group) {
  if (auto* found = marks_.find(group)) {
    *found = mark::ready;
    if (group == first_waiting_)
      look_on_from(group);
    return;
  }
  // Given back.
  marks_.insert(group) = mark::ready;
  leading_ready_ = 0;
  look_on_from(marks_.lowest());
}

void batch_rule::clear_mark(group_id group) {
  const bool was_ready = *marks_.find(group) == mark::ready;
  const auto next = group + 1;
  marks_.erase(group);
  if (was_ready && group < first_waiting_)
    --leading_ready_;
  else if (group == first_waiting_)
    look_on_from(next);
}

std::vector<group_id> batch_rule::cut_in_order(const request& wanted) {
  std::vector<group_id> groups;
  if (!marks_.empty()) {
    const auto take = std::min(wanted.size, ready_);
    const auto end = wanted.below > 0 ? wanted.below : marks_.end();
    for (auto id = marks_.lowest(); id < end && (wanted.below > 0 || groups.size() < take); ++id)
      if (marks_.contains(id))
        groups.push_back(id);
  }
  for (const auto id : groups)
    clear_mark(id);
  ready_ -= groups.size();
  return groups;
}

// -- every other order ------------------------------------------------------------------------------

std::vector<batch_rule::cohort>::iterator batch_rule::find_cohort(version_id age_from) {
  return std::lower_bound(cohorts_.begin(), cohorts_.end(), age_from, [](const cohort& one, version_id version) { return one.age_from < version; });
}

batch_rule::cohort& batch_rule::cohort_of(version_id age_from) {
  auto where = find_cohort(age_from);
  if (where == cohorts_.end() || where->age_from != age_from)
    where = cohorts_.insert(where, cohort{age_from, 0, {}});
  return *where;
}

void batch_rule::forget_if_empty(version_id age_from) {
  if (const auto where = find_cohort(age_from); where->live == 0)
    cohorts_.erase(where);
}

void batch_rule::push_ready(group_id group, version_id age_from, std::int64_t tokens) {
  auto& to = cohort_of(age_from);
  ++to.live;
  to.ready.push_back({order_ == select_order::ready ? arrivals_++ : group, group, tokens});
  std::push_heap(to.ready.begin(), to.ready.end(), worse);
}

void batch_rule::erase_ready(group_id group, version_id age_from) {
  auto& from = cohort_of(age_from);
  std::erase_if(from.ready, [&](const entry& one) { return one.id == group; });
  std::make_heap(from.ready.begin(), from.ready.end(), worse);
  --from.live;
  forget_if_empty(age_from);
}

std::optional<std::vector<std::size_t>> batch_rule::forced(const request& wanted, std::size_t* short_of) const {
  std::vector<std::size_t> from(cohorts_.size(), 0);
  std::int64_t left = 0;  // behind, of the cohorts so far
  std::int64_t able = 0;  // ready and not taken, of the cohorts so far
  std::int64_t taken = 0;
  for (std::size_t i = 0; i < cohorts_.size(); ++i) {
    left += cohorts_[i].live;
    able += static_cast<std::int64_t>(cohorts_[i].ready.size());
    const auto to_deadline = std::max<std::int64_t>(0, std::int64_t{cohorts_[i].age_from} + stale_max_ - wanted.step);
    const auto room = static_cast<std::int64_t>(wanted.step_after) + static_cast<std::int64_t>(size_) * to_deadline;
    if (left <= room)
      continue;
    auto need = left - room;
    if (need > able || taken + need > static_cast<std::int64_t>(wanted.size)) {
      if (short_of)
        *short_of = static_cast<std::size_t>(need - std::min(able, static_cast<std::int64_t>(wanted.size) - taken));
      return std::nullopt;
    }
    left -= need;
    able -= need;
    taken += need;
    for (std::size_t j = 0; j <= i && need > 0; ++j) {
      const auto more = std::min(need, static_cast<std::int64_t>(cohorts_[j].ready.size() - from[j]));
      from[j] += static_cast<std::size_t>(more);
      need -= more;
    }
  }
  return from;
}

void batch_rule::pop(cohort& from, std::vector<group_id>& groups) {
  std::pop_heap(from.ready.begin(), from.ready.end(), worse);
  groups.push_back(from.ready.back().id);
  from.ready.pop_back();
  --from.live;
}

void batch_rule::take_preferred(std::size_t count, std::vector<group_id>& groups) {
  const auto take_from = [&](cohort& one) {
    for (; count > 0 && !one.ready.empty(); --count)
      pop(one, groups);
  };
  if (order_ == select_order::freshest)
    std::for_each(cohorts_.rbegin(), cohorts_.rend(), take_from);
  else
    std::for_each(cohorts_.begin(), cohorts_.end(), take_from);
}

void batch_rule::take_first_come(std::size_t count, std::vector<group_id>& groups) {
  for (; count > 0; --count) {
    cohort* first = nullptr;
    for (auto& one : cohorts_)
      if (!one.ready.empty() && (!first || worse(first->ready.front(), one.ready.front())))
        first = &one;
    pop(*first, groups);
  }
}

void batch_rule::take_alike(std::size_t count, std::vector<group_id>& groups) {
  if (count == 0)
    return;
  struct candidate {
    int distance;
    group_id id;
    version_id age_from;
  };
  const auto bucket = [](std::int64_t tokens) { return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(tokens))); };
  const entry* first = nullptr;
  for (const auto& one : cohorts_)
    if (!one.ready.empty() && (!first || one.ready.front().id < first->id))
      first = &one.ready.front();
  const int near = bucket(first->tokens);
  std::vector<candidate> all;
  for (const auto& one : cohorts_)
    for (const auto& each : one.ready)
      all.push_back({std::abs(bucket(each.tokens) - near), each.id, one.age_from});
  const auto sooner = [](const candidate& a, const candidate& b) { return a.distance != b.distance ? a.distance < b.distance : a.id < b.id; };
  std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count) - 1, all.end(), sooner);
  for (std::size_t i = 0; i < count; ++i) {
    auto& from = cohort_of(all[i].age_from);
    std::erase_if(from.ready, [&](const entry& one) { return one.id == all[i].id; });
    std::make_heap(from.ready.begin(), from.ready.end(), worse);
    --from.live;
    groups.push_back(all[i].id);
  }
}

// -- both -------------------------------------------------------------------------------------------

void batch_rule::queue(group_id group) {
  if (order_ == select_order::in_order)
    mark_waiting(group);
  ++waiting_;
}

void batch_rule::start(group_id group, version_id age_from, bool was_queued) {
  if (order_ != select_order::in_order)
    ++cohort_of(age_from).live;
  else if (!was_queued)
    mark_waiting(group);
  if (!was_queued)
    ++waiting_;
}

void batch_rule::ready(group_id group, version_id born, version_id age_from, std::int64_t tokens) {
  --waiting_;
  if (order_ == select_order::in_order) {
    mark_ready(group);
  } else {
    --cohort_of(born).live;
    push_ready(group, age_from, tokens);
    forget_if_empty(born);
  }
  ++ready_;
}

void batch_rule::requeue(group_id group, version_id age_from, bool was_ready) {
  leave(group, age_from, was_ready);
  queue(group);
}

void batch_rule::leave_queued(group_id group) {
  --waiting_;
  if (order_ == select_order::in_order)
    clear_mark(group);
}

void batch_rule::leave(group_id group, version_id age_from, bool was_ready) {
  --(was_ready ? ready_ : waiting_);
  if (order_ == select_order::in_order)
    return clear_mark(group);
  if (was_ready)
    return erase_ready(group, age_from);
  --cohort_of(age_from).live;
  forget_if_empty(age_from);
}

void batch_rule::give_back(group_id group, version_id age_from, std::int64_t tokens) {
  if (order_ == select_order::in_order)
    mark_ready(group);
  else
    push_ready(group, age_from, tokens);
  ++ready_;
}

bool batch_rule::able(const request& wanted) const {
  if (wanted.below > 0)
    return waiting_ == 0 || first_waiting_ >= wanted.below;
  const bool rest = wanted.last && waiting_ == 0 && ready_ > 0;
  if (ready_ < wanted.size && !rest)
    return false;
  if (order_ == select_order::in_order)
    return leading_ready_ >= std::min(wanted.size, ready_);
  return !waits_ || forced(wanted, nullptr);
}

std::optional<std::vector<group_id>> batch_rule::cut(const request& wanted) {
  if (!able(wanted))
    return std::nullopt;
  if (order_ == select_order::in_order)
    return cut_in_order(wanted);
  const auto take = std::min(wanted.size, ready_);
  std::vector<group_id> groups;
  groups.reserve(take);
  if (waits_) {
    const auto counts = *forced(wanted, nullptr);
    for (std::size_t i = 0; i < cohorts_.size(); ++i)
      for (auto n = counts[i]; n > 0; --n)
        pop(cohorts_[i], groups);
  }
  const auto more = take - groups.size();
  if (order_ == select_order::length_bucket)
    take_alike(more, groups);
  else if (order_ == select_order::ready)
    take_first_come(more, groups);
  else
    take_preferred(more, groups);
  std::erase_if(cohorts_, [](const cohort& one) { return one.live == 0; });
  ready_ -= take;
  std::sort(groups.begin(), groups.end());
  return groups;
}

std::vector<group_id> batch_rule::overdue(std::uint32_t step) const {
  std::vector<group_id> found;
  for (const auto& one : cohorts_) {
    if (std::uint64_t{one.age_from} + stale_max_ >= step)
      break;
    const auto begin = static_cast<std::ptrdiff_t>(found.size());
    for (const auto& each : one.ready)
      found.push_back(each.id);
    std::sort(found.begin() + begin, found.end());
  }
  return found;
}

std::size_t batch_rule::missing_for_bound(const request& wanted) const {
  std::size_t short_of = 0;
  if (order_ != select_order::in_order && waits_ && ready_ >= wanted.size)
    forced(wanted, &short_of);
  return short_of;
}

} // namespace millrace::schedule
