#include "runtime/schedule/scheduler.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace millrace::schedule {

// -- who is there -----------------------------------------------------------------------------------------------------

void scheduler::handle(const worker_joined& told) {
  if (told.capacity_groups < 1)
    throw std::invalid_argument("worker_joined: capacity_groups: want at least 1, got 0");
  forget_worker(told.worker);
  auto& one = workers_[told.worker];
  one.name = told.name;
  one.capacity = told.capacity_groups;
  // A version that this life of the run has not published is of another one.
  one.holds = told.holds && *told.holds <= published_ ? told.holds : std::nullopt;
  one.lent = told.lent && config_.place.mode == place_mode::lend;
  one.since_s = now_s_;
  if (!one.holds || *one.holds < published_)
    outdated_.insert(told.worker);
  join_members(one);
  offer(told.worker, one);
}

void scheduler::handle(const worker_lost& told) {
  if (!workers_.contains(told.worker)) {
    ++ignored_;
    return;
  }
  forget_worker(told.worker);
}

void scheduler::forget_worker(worker_id id) {
  const auto where = workers_.find(id);
  if (where == workers_.end())
    return;
  auto& one = where->second;
  for (const auto running : std::exchange(one.running, {})) {
    auto& left = groups_.at(running);
    if (const auto target = target_of(running))
      if (const auto to = workers_.find(*target); to != workers_.end()) {
        --to->second.reserved;
        offer(to->first, to->second);
      }
    moves_.erase(running);
    retry(running, left, one.name + " was lost");
  }
  std::erase_if(moves_, [id](const auto& move) { return move.second == id; });
  leave_members(one);
  turns_ -= one.has_turn;
  late_ -= one.late;
  free_.erase({-std::int64_t{one.offered}, id});
  outdated_.erase(id);
  workers_.erase(where);
}

void scheduler::handle(const version_acknowledged& told) {
  const auto where = workers_.find(told.worker);
  if (where == workers_.end() || !where->second.sent || told.version > *where->second.sent
      || (where->second.holds && told.version <= *where->second.holds)) {
    ++ignored_;
    return;
  }
  auto& one = where->second;
  leave_members(one);
  one.holds = told.version;
  late_ -= std::exchange(one.late, false);
  if (!one.flipping())
    turns_ -= std::exchange(one.has_turn, false);
  one.since_s = one.behind_s = now_s_;
  join_members(one);
  offer(told.worker, one);
}

void scheduler::handle(const weights_overdue& told) {
  const auto where = workers_.find(told.worker);
  if (where == workers_.end() || !where->second.flipping() || where->second.late || told.version > *where->second.sent
      || (where->second.holds && told.version <= *where->second.holds)) {
    ++ignored_;
    return;
  }
  auto& one = where->second;
  one.late = true;
  ++late_;
  turns_ -= std::exchange(one.has_turn, false);
  if (phase_ != phase::running || outdated_.contains(told.worker))
    return; // the newest goes there as soon as it may
  sweep_running();
  actions_.emplace_back(publish{*one.sent, {told.worker}});
}

std::vector<weights_overdue> scheduler::late_weights(double now_s) const {
  std::vector<weights_overdue> found;
  if (config_.publish.deadline_s > 0 && phase_ == phase::running)
    for (const auto& [id, one] : workers_)
      if (one.flipping() && !one.late && now_s - one.behind_s > config_.publish.deadline_s)
        found.push_back({id, *one.sent});
  return found;
}

void scheduler::join_members(worker& one) {
  if (!one.holds || (config_.publish.pattern != publish_pattern::pull && *one.holds < version_))
    return;
  one.member = true;
  ++held_[*one.holds];
}

void scheduler::leave_members(worker& one) {
  if (!std::exchange(one.member, false))
    return;
  if (const auto held = held_.find(*one.holds); --held->second == 0)
    held_.erase(held);
}

bool scheduler::may_take(const worker& one) const {
  if (!one.member || one.closed || (one.lent && reclaimed_) || (one.flipping() && !config_.in_flight()))
    return false;
  // What it would start is too old already.
  return config_.stale.action == stale_action::wait || *one.holds >= oldest_usable();
}

void scheduler::offer(worker_id id, worker& one) {
  const bool may = may_take(one);
  const auto taken = static_cast<std::uint32_t>(one.running.size()) + one.reserved;
  const auto places = may && one.capacity > taken ? one.capacity - taken : 0;
  if (places == one.offered)
    return;
  auto listed = free_.extract({-std::int64_t{one.offered}, id});
  one.offered = places;
  if (places == 0)
    return;
  if (listed.empty()) {
    free_.emplace(-std::int64_t{places}, id);
  } else {
    listed.value() = {-std::int64_t{places}, id};
    free_.insert(std::move(listed));
  }
}

bool scheduler::takes_groups(worker_id id) const {
  const auto found = workers_.find(id);
  return found != workers_.end() && may_take(found->second);
}

// -- who gets the weights ---------------------------------------------------------------------------------------------

void scheduler::publish_weights() {
  if (outdated_.empty())
    return;
  // Without in-flight update, a group that is generating ends under the weights it began with.
  const bool running = config_.in_flight() && ledger_.live(group_state::generating).groups > 0;
  if (!running && queued_.empty() && parked_.empty() && !more_to_start())
    return;
  sweep_running();
  // The learner has its newest weights only: a version that nobody was sent when it was new is not to be had any more.
  if (sent_ != published_ && published_ != step_) {
    published_ = step_;
    for (const auto& [id, one] : workers_)
      if (std::max(one.holds.value_or(0), one.sent.value_or(0)) < published_)
        outdated_.insert(id);
  }
  publish next;
  next.version = published_;
  for (auto at = outdated_.begin(); at != outdated_.end();) {
    const auto here = at++;
    auto& one = workers_.find(*here)->second;
    if (config_.publish.pattern == publish_pattern::pull && (!one.running.empty() || one.reserved > 0) && one.holds)
      continue;
    if (config_.publish.pattern == publish_pattern::rolling && !one.flipping()
        && turns_ >= config_.publish.rolling_width)
      break;
    if (!one.flipping()) {
      one.has_turn = true;
      ++turns_;
      one.behind_s = now_s_;
    }
    one.sent = sent_ = published_;
    one.since_s = now_s_;
    offer(*here, one);
    interrupt_worker(one);
    next.workers.push_back(*here);
    outdated_.erase(here);
  }
  if (!next.workers.empty())
    actions_.emplace_back(std::move(next));
}

void scheduler::interrupt_worker(worker& one) {
  if (config_.interrupt.mode != interrupt_mode::abort_resume && config_.interrupt.mode != interrupt_mode::abort_discard)
    return;
  auto running = one.running;
  std::sort(running.begin(), running.end());
  for (const auto id : running) {
    auto& stopped = groups_.at(id);
    if (config_.interrupt.mode == interrupt_mode::abort_resume) {
      ask_for_partial(id, stopped);
    } else {
      stop_generating(id, stopped);
      requeue(id, stopped);
    }
  }
}

} // namespace millrace::schedule
