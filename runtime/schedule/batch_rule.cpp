#include "runtime/schedule/batch_rule.hpp"

#include "runtime/schedule/age_limit.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

namespace millrace::schedule {

batch_rule::batch_rule(const config& wanted)
    : set_(wanted),
      // A round that ends with its batch leaves nobody behind.
      waits_(wanted.stale.action == stale_action::wait && wanted.stale.bounded()
             && (wanted.tail.stop == tail_stop::all || wanted.tail.surplus == tail_surplus::recycle_partial)) {
}

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

batch_rule::cohort& batch_rule::reach(version_id age_from) {
  if (cohorts_.empty())
    first_age_ = age_from;
  for (; age_from < first_age_; --first_age_)
    cohorts_.emplace_front();
  while (age_from - first_age_ >= cohorts_.size())
    cohorts_.emplace_back();
  return of(age_from);
}

void batch_rule::enter(version_id age_from) {
  ++reach(age_from).live;
  ++started_;
}

void batch_rule::depart(version_id age_from, std::size_t count) {
  of(age_from).live -= static_cast<std::int64_t>(count);
  started_ -= static_cast<std::int64_t>(count);
  for (; !cohorts_.empty() && cohorts_.front().live == 0; ++first_age_)
    cohorts_.pop_front();
}

void batch_rule::note_ready(version_id age_from) {
  if (ages_.empty() || age_from > ages_.back())
    ages_.push_back(age_from);
  else
    ages_.insert(std::lower_bound(ages_.begin(), ages_.end(), age_from), age_from);
}

void batch_rule::forget_ready(version_id age_from) {
  ages_.erase(std::lower_bound(ages_.begin(), ages_.end(), age_from));
}

void batch_rule::push_ready(group_id group, version_id age_from, std::int64_t tokens) {
  enter(age_from);
  auto& to = of(age_from).ready;
  if (to.empty())
    note_ready(age_from);
  to.push_back({set_.select.order == select_order::ready ? arrivals_++ : group, group, tokens});
  std::push_heap(to.begin(), to.end(), worse);
  ready_tokens_ += tokens;
}

void batch_rule::erase_ready(group_id group, version_id age_from) {
  auto& from = of(age_from).ready;
  if (from.front().id == group) {
    std::pop_heap(from.begin(), from.end(), worse);
  } else {
    std::iter_swap(std::find_if(from.begin(), from.end(), [&](const entry& one) { return one.id == group; }),
                   std::prev(from.end()));
    std::make_heap(from.begin(), std::prev(from.end()), worse);
  }
  ready_tokens_ -= from.back().tokens;
  from.pop_back();
  if (from.empty())
    forget_ready(age_from);
  depart(age_from);
}

bool batch_rule::feasible(const request& wanted, std::vector<std::size_t>* from, std::size_t* short_of) const {
  const age_limit limit(set_);
  // By this update and all before it.
  const auto trained = std::uint64_t{wanted.step} * set_.groups_per_step + set_.part_begin(wanted.part + 1);
  std::int64_t left = 0; // behind, of the cohorts so far
  std::int64_t able = 0; // ready and not taken, of the cohorts so far
  std::int64_t taken = 0;
  std::size_t with_ready = 0;
  auto age = first_age_;
  for (const auto& one : cohorts_) {
    left += one.live;
    if (!one.ready.empty()) {
      able += static_cast<std::int64_t>(one.ready.size());
      ++with_ready;
      if (from)
        from->push_back(0);
    }
    const auto within = limit.trained_within(age++);
    const auto room = within > trained ? static_cast<std::int64_t>(within - trained) : 0;
    if (started_ - taken <= room)
      break; // as later deadlines have more room, none of them is in danger
    if (left <= room)
      continue;
    auto need = left - room;
    if (need > able || taken + need > static_cast<std::int64_t>(wanted.size)) {
      if (short_of)
        *short_of = static_cast<std::size_t>(need - std::min(able, static_cast<std::int64_t>(wanted.size) - taken));
      return false;
    }
    left -= need;
    able -= need;
    taken += need;
    for (std::size_t i = 0; from && i < with_ready && need > 0; ++i) {
      const auto more = std::min(need, static_cast<std::int64_t>(of(ages_[i]).ready.size() - (*from)[i]));
      (*from)[i] += static_cast<std::size_t>(more);
      need -= more;
    }
  }
  return true;
}

std::size_t batch_rule::fresh_wanted(const request& wanted) const {
  if (set_.select.on_policy_min == 0)
    return 0;
  const auto share =
      static_cast<std::size_t>(std::ceil(set_.select.on_policy_min * static_cast<double>(wanted.size) - 1e-9));
  if (wanted.fresh)
    return share;
  // No more than there are, or will be of those that began.
  const auto offset = std::size_t{wanted.step} - first_age_;
  return std::min(share, wanted.step >= first_age_ && offset < cohorts_.size()
                             ? static_cast<std::size_t>(cohorts_[offset].live)
                             : 0);
}

std::size_t batch_rule::missing_fresh(const request& wanted) const {
  const auto want = fresh_wanted(wanted);
  if (want == 0)
    return 0;
  const bool there = std::binary_search(ages_.begin(), ages_.end(), wanted.step);
  const auto have = there ? of(wanted.step).ready.size() : 0;
  return want > have ? want - have : 0;
}

void batch_rule::pop(version_id age_from, std::size_t count, std::vector<group_id>& groups) {
  auto& from = of(age_from).ready;
  if (count == from.size()) { // in any order: a batch is sorted in the end
    for (const auto& one : from) {
      groups.push_back(one.id);
      ready_tokens_ -= one.tokens;
    }
    from.clear();
  } else {
    for (auto n = count; n > 0; --n) {
      std::pop_heap(from.begin(), from.end(), worse);
      groups.push_back(from.back().id);
      ready_tokens_ -= from.back().tokens;
      from.pop_back();
    }
  }
  if (count > 0 && from.empty())
    forget_ready(age_from);
  if (count > 0)
    depart(age_from, count);
}

void batch_rule::take_preferred(std::size_t count, std::int64_t tokens, std::vector<group_id>& groups) {
  const auto until = tokens > 0 ? ready_tokens_ - tokens : -1;
  while (count > 0 && ready_tokens_ > until) {
    const auto age = set_.select.order == select_order::freshest ? ages_.back() : ages_.front();
    const auto some = tokens > 0 ? 1 : std::min(count, of(age).ready.size());
    pop(age, some, groups);
    count -= some;
  }
}

void batch_rule::take_first_come(std::size_t count, std::int64_t tokens, std::vector<group_id>& groups) {
  const auto until = tokens > 0 ? ready_tokens_ - tokens : -1;
  // The heads of all cohorts as a heap.
  const auto later = [&](version_id a, version_id b) { return worse(of(a).ready.front(), of(b).ready.front()); };
  auto heads = ages_;
  std::make_heap(heads.begin(), heads.end(), later);
  for (; count > 0 && ready_tokens_ > until; --count) {
    std::pop_heap(heads.begin(), heads.end(), later);
    const auto age = heads.back();
    const bool more = of(age).ready.size() > 1;
    pop(age, 1, groups);
    if (more)
      std::push_heap(heads.begin(), heads.end(), later);
    else
      heads.pop_back();
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

  const auto bucket = [](std::int64_t tokens) {
    return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(tokens)));
  };
  const entry* first = nullptr;
  for (const auto age : ages_)
    if (const auto& head = of(age).ready.front(); !first || head.id < first->id)
      first = &head;
  const int near = bucket(first->tokens);
  std::vector<candidate> all;
  all.reserve(ready_);
  for (const auto age : ages_)
    for (const auto& each : of(age).ready)
      all.push_back({std::abs(bucket(each.tokens) - near), each.id, age});
  const auto sooner = [](const candidate& a, const candidate& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
  };
  const auto end = all.begin() + static_cast<std::ptrdiff_t>(count);
  std::nth_element(all.begin(), end - 1, all.end(), sooner);
  std::sort(all.begin(), end, [](const candidate& a, const candidate& b) {
    return a.age_from != b.age_from ? a.age_from < b.age_from : a.id < b.id;
  });
  for (auto at = all.begin(); at != end;) {
    const auto age = at->age_from;
    const auto next = std::find_if(at, end, [&](const candidate& one) { return one.age_from != age; });
    auto& from = of(age).ready;
    const auto kept = std::partition(from.begin(), from.end(), [&](const entry& one) {
      const auto found = std::lower_bound(at, next, one.id, [](const candidate& c, group_id id) { return c.id < id; });
      return found == next || found->id != one.id;
    });
    for (auto gone = kept; gone != from.end(); ++gone) {
      groups.push_back(gone->id);
      ready_tokens_ -= gone->tokens;
    }
    from.erase(kept, from.end());
    std::make_heap(from.begin(), from.end(), worse);
    if (from.empty())
      forget_ready(age);
    depart(age, static_cast<std::size_t>(next - at));
    at = next;
  }
}

// -- both -------------------------------------------------------------------------------------------

void batch_rule::queue(group_id group) {
  if (set_.select.order == select_order::in_order)
    mark_waiting(group);
  ++waiting_;
}

void batch_rule::start(group_id, version_id age_from) {
  if (set_.select.order != select_order::in_order)
    enter(age_from);
}

void batch_rule::ready(group_id group, version_id born, version_id age_from, std::int64_t tokens) {
  --waiting_;
  if (set_.select.order == select_order::in_order) {
    mark_ready(group);
  } else {
    push_ready(group, age_from, tokens);
    depart(born);
  }
  ++ready_;
}

void batch_rule::requeue(group_id group, version_id age_from, started it) {
  leave(group, age_from, it);
  queue(group);
}

void batch_rule::leave_queued(group_id group) {
  --waiting_;
  if (set_.select.order == select_order::in_order)
    clear_mark(group);
}

void batch_rule::leave(group_id group, version_id age_from, started it) {
  const bool was_ready = it == started::is_ready;
  --(was_ready ? ready_ : waiting_);
  if (set_.select.order == select_order::in_order)
    return clear_mark(group);
  if (was_ready)
    return erase_ready(group, age_from);
  depart(age_from);
}

void batch_rule::give_back(group_id group, version_id age_from, std::int64_t tokens) {
  if (set_.select.order == select_order::in_order)
    mark_ready(group);
  else
    push_ready(group, age_from, tokens);
  ++ready_;
}

bool batch_rule::able(const request& wanted) const {
  if (wanted.below > 0)
    return waiting_ == 0 || first_waiting_ >= wanted.below;
  const bool rest = wanted.last && waiting_ == 0 && ready_ > 0;
  const bool enough = wanted.tokens > 0 && ready_tokens_ >= wanted.tokens;
  if (ready_ < wanted.size && !rest && !enough)
    return false;
  if (set_.select.order == select_order::in_order)
    return leading_ready_ >= std::min(wanted.size, ready_);
  return missing_fresh(wanted) == 0 && (!waits_ || feasible(wanted, nullptr, nullptr));
}

std::optional<std::vector<group_id>> batch_rule::cut(const request& wanted) {
  if (!able(wanted))
    return std::nullopt;
  if (set_.select.order == select_order::in_order)
    return cut_in_order(wanted);
  const auto take = std::min(wanted.size, ready_);
  std::vector<group_id> groups;
  groups.reserve(take);
  if (waits_ && set_.select.order != select_order::oldest) { // which takes the most urgent first anyhow
    std::vector<std::size_t> from;
    feasible(wanted, &from, nullptr);
    const auto ages = ages_;
    for (std::size_t i = 0; i < from.size(); ++i)
      pop(ages[i], from[i], groups);
  }
  if (const auto fresh = fresh_wanted(wanted); fresh > 0)
    pop(wanted.step, fresh, groups);
  const auto more = take - groups.size();
  if (set_.select.order == select_order::length_bucket)
    take_alike(more, groups);
  else if (set_.select.order == select_order::ready)
    take_first_come(more, wanted.tokens, groups);
  else
    take_preferred(more, wanted.tokens, groups);
  ready_ -= groups.size();
  std::sort(groups.begin(), groups.end());
  return groups;
}

std::vector<group_id> batch_rule::overdue(version_id oldest) const {
  std::vector<group_id> found;
  for (const auto age : ages_) {
    if (age >= oldest)
      break;
    const auto begin = static_cast<std::ptrdiff_t>(found.size());
    for (const auto& each : of(age).ready)
      found.push_back(each.id);
    std::sort(found.begin() + begin, found.end());
  }
  return found;
}

std::size_t batch_rule::missing_for_bound(const request& wanted) const {
  std::size_t short_of = 0;
  if (set_.select.order != select_order::in_order && waits_ && ready_ >= wanted.size)
    feasible(wanted, nullptr, &short_of);
  return short_of;
}

} // namespace millrace::schedule
