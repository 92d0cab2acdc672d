#include "runtime/schedule/batch_rule.hpp"

#include <algorithm>
#include <iterator>
#include <limits>

namespace millrace::schedule {

batch_rule::batch_rule(const config& wanted)
    : size_(wanted.groups_per_step), stale_max_(wanted.stale_max), in_order_(wanted.select == select_order::in_order),
      bounded_(wanted.action == stale_action::wait) {}

batch_rule::entry batch_rule::started(group_id group, version_id born) const {
  return {in_order_ ? 0 : born, group};
}

batch_rule::entry batch_rule::unstarted(group_id group) const {
  return {in_order_ ? 0 : std::numeric_limits<std::uint32_t>::max(), group};
}

void batch_rule::count(version_id born, std::int64_t live, std::int64_t ready) {
  if (in_order_)
    return;
  const auto where = cohorts_.try_emplace(born).first;
  where->second.live += live;
  where->second.ready += ready;
  if (where->second.live == 0)
    cohorts_.erase(where);
}

void batch_rule::insert_waiting(const entry& one) {
  if (in_order_)
    for (auto it = ready_.lower_bound(one); it != ready_.end() && (waiting_.empty() || *it < *waiting_.begin()); ++it)
      --leading_ready_;
  waiting_.insert(one);
}

void batch_rule::erase_waiting(const entry& one) {
  const auto where = waiting_.find(one);
  const bool first = where == waiting_.begin();
  waiting_.erase(where);
  if (in_order_ && first)
    for (auto it = ready_.lower_bound(one); it != ready_.end() && (waiting_.empty() || *it < *waiting_.begin()); ++it)
      ++leading_ready_;
}

void batch_rule::insert_ready(const entry& one) {
  ready_.insert(one);
  if (in_order_ && (waiting_.empty() || one < *waiting_.begin()))
    ++leading_ready_;
}

void batch_rule::erase_ready(const entry& one) {
  ready_.erase(one);
  if (in_order_ && (waiting_.empty() || one < *waiting_.begin()))
    --leading_ready_;
}

void batch_rule::queue(group_id group) {
  insert_waiting(unstarted(group));
}

void batch_rule::start(group_id group, version_id born) {
  if (in_order_ && waiting_.contains(unstarted(group)))
    return;
  if (!in_order_)
    waiting_.erase(unstarted(group));
  insert_waiting(started(group, born));
  count(born, 1, 0);
}

void batch_rule::ready(group_id group, version_id born) {
  erase_waiting(started(group, born));
  insert_ready(started(group, born));
  count(born, 0, 1);
}

void batch_rule::requeue(group_id group, version_id born) {
  leave(group, born);
  queue(group);
}

void batch_rule::leave_queued(group_id group) {
  erase_waiting(unstarted(group));
}

void batch_rule::leave(group_id group, version_id born) {
  const auto one = started(group, born);
  const bool was_ready = ready_.contains(one);
  if (was_ready)
    erase_ready(one);
  else
    erase_waiting(one);
  count(born, -1, was_ready ? -1 : 0);
}

void batch_rule::give_back(group_id group, version_id born) {
  insert_ready(started(group, born));
  count(born, 1, 1);
}

std::int64_t batch_rule::excess(std::uint32_t step, std::size_t size) const {
  auto to_take = static_cast<std::int64_t>(size);
  std::int64_t left = 0;
  for (const auto& [born, one] : cohorts_) {
    const auto taken = std::min(one.ready, to_take);
    to_take -= taken;
    left += one.live - taken;
    const auto steps_to_deadline = std::max<std::int64_t>(0, std::int64_t{born} + stale_max_ - step);
    if (const auto room = static_cast<std::int64_t>(size_) * steps_to_deadline; left > room)
      return left - room;
  }
  return 0;
}

std::optional<std::vector<group_id>> batch_rule::cut(std::uint32_t step, bool last) {
  const bool rest = last && waiting_.empty() && !ready_.empty() && ready_.size() < size_;
  if (!rest && ready_.size() < size_)
    return std::nullopt;
  const auto take = std::min(size_, ready_.size());
  if (in_order_ ? leading_ready_ < take : bounded_ && excess(step, take) > 0)
    return std::nullopt;
  std::vector<group_id> groups;
  groups.reserve(take);
  const auto end = std::next(ready_.begin(), static_cast<std::ptrdiff_t>(take));
  for (auto it = ready_.begin(); it != end; ++it) {
    groups.push_back(it->second);
    count(it->first, -1, -1);
  }
  ready_.erase(ready_.begin(), end);
  if (in_order_)
    leading_ready_ -= take;
  std::sort(groups.begin(), groups.end());
  return groups;
}

batch_rule::blocked_on batch_rule::blocked(std::uint32_t step, std::size_t limit) const {
  blocked_on result;
  if (in_order_) {
    // The batch is the lowest `size_` live ids: walk both ordered sets together and keep those that are not ready.
    auto done = ready_.begin();
    auto open = waiting_.begin();
    for (std::size_t rank = 0; rank < size_ && open != waiting_.end(); ++rank) {
      if (done != ready_.end() && *done < *open) {
        ++done;
        continue;
      }
      if (result.groups.size() < limit)
        result.groups.push_back(open->second);
      ++result.count;
      ++open;
    }
    const auto missing = size_ > live() ? size_ - live() : 0;
    result.count += missing;
    return result;
  }
  result.bound = ready_.size() >= size_;
  result.count = result.bound ? static_cast<std::size_t>(bounded_ ? excess(step, size_) : 0) : size_ - ready_.size();
  for (auto it = waiting_.begin(); it != waiting_.end() && result.groups.size() < std::min(limit, result.count); ++it)
    result.groups.push_back(it->second);
  return result;
}

} // namespace millrace::schedule
