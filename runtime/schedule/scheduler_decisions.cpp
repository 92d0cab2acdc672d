#include "runtime/schedule/age_limit.hpp"
#include "runtime/schedule/scheduler.hpp"

#include <algorithm>

namespace millrace::schedule {

void scheduler::advance() {
  raise_version();
  sweep_ready();
  end_if_done();
  if (phase_ != phase::running)
    return;
  publish_weights();
  cut_batch();
  reclaim();
  if (phase_ == phase::running)
    start_groups();
  end_if_done(); // what was too old may have been the last
}

/// Those that are late and keep v from a version that another runs.
void scheduler::leave_out_late() {
  for (auto& [id, one] : workers_)
    if (one.late && one.member && *one.holds < held_.rbegin()->first) {
      leave_members(one);
      offer(id, one);
    }
}

void scheduler::raise_version() {
  if (late_ > 0)
    leave_out_late();
  if (held_.empty() && late_ > 0)
    return;
  version_id newest = published_;
  if (config_.publish.pattern != publish_pattern::pull && !held_.empty()) {
    newest = held_.begin()->first;
    std::uint32_t holders = 0;
    if (config_.publish.ack > 0)
      for (auto at = held_.rbegin(); at != held_.rend(); ++at)
        if ((holders += at->second) >= config_.publish.ack) {
          newest = std::max(newest, at->first);
          break;
        }
  }
  if (newest <= version_)
    return;
  version_ = newest;
  version_since_s_ = now_s_;
  generating_then_ = ledger_.live(group_state::generating).groups;
  if (config_.publish.ack > 0)
    for (auto& [id, one] : workers_)
      if (one.member && *one.holds < version_) {
        leave_members(one);
        offer(id, one);
      }
}

// -- what may start ---------------------------------------------------------------------------------------------------

bool scheduler::no_more_groups() const {
  return prompts_ && static_cast<std::uint64_t>(ledger_.sums().admitted) >= *prompts_;
}

bool scheduler::more_to_start() const {
  return !no_more_groups() && committed() < last_limit_[!long_round_];
}

std::uint64_t scheduler::most_committed() const {
  if (no_more_groups())
    return 0;
  const gate_state now{version_, first_version_, step_ + (training_ && training_->ends_step), !long_round_};
  if (limit_ == 0 || now != gate_) {
    gate_ = now;
    limit_ = admission_limit(config_, now);
  }
  return limit_;
}

bool scheduler::may_grow() const {
  const auto generating = ledger_.live(group_state::generating).groups;
  if (config_.gate.max_inflight > 0 && generating >= config_.gate.max_inflight)
    return false;
  return generating < generating_then_ + burst_groups(config_);
}

bool scheduler::round_is_open() const {
  if (config_.place.mode == place_mode::timeshare && training_)
    return false;
  return !closing_ && rounds_cut_ <= step_ && (config_.tail.stop == tail_stop::all || version_ >= published_);
}

void scheduler::open_round() {
  if (parked_.empty() || !round_is_open() || training_)
    return;
  const auto live = groups_.size() - parked_.size();
  const auto size = std::size_t{config_.groups_per_step};
  std::size_t wanted = 0;
  if (live == 0 && parked_.size() >= size)
    wanted = size;
  else if (no_more_groups() && live < size)
    wanted = std::min(size - live, parked_.size());
  long_round_ = long_round_ || (live == 0 && wanted > 0);
  for (; wanted > 0; --wanted)
    requeue(*parked_.begin(), groups_.at(*parked_.begin()));
}

void scheduler::start_groups() {
  open_round();
  if (!round_is_open())
    return;
  while (!free_.empty()) {
    if (!may_grow())
      return;
    const auto on = free_.begin()->second;
    if (!queued_.empty()) {
      const auto id = *queued_.begin();
      auto& one = groups_.at(id);
      if (one.partial && is_condemned(one)) {
        too_old(id, one);
        continue;
      }
      queued_.erase(queued_.begin());
      place(id, one, on);
    } else if (may_start_new()) {
      const auto id = static_cast<group_id>(ledger_.sums().admitted);
      ledger_.admit();
      auto& one = groups_.insert(id);
      ledger_.move(group_state::generating, group_state::queued, 0);
      rule_.queue(id);
      place(id, one, on);
    } else {
      return;
    }
  }
}

void scheduler::place(group_id id, group& one, worker_id on) {
  auto& target = workers_.find(on)->second;
  const bool resume = one.partial;
  ledger_.move(group_state::queued, group_state::generating, one.tokens);
  one.state = group_state::generating;
  ++one.attempt;
  one.worker = on;
  if (resume && *target.holds < one.born)
    rule_.requeue(id, one.born,
                  batch_rule::started::waits_for_columns); // it goes on under older weights than it began with
  if (!resume || *target.holds < one.born) {
    one.born = *target.holds;
    rule_.start(id, one.born);
  }
  one.since_s = now_s_;
  one.place = static_cast<std::uint32_t>(target.running.size());
  target.running.push_back(id);
  target.since_s = now_s_;
  offer(on, target);
  actions_.emplace_back(admit{id, one.attempt, on, *target.holds, resume, !long_round_});
}

void scheduler::place_on(group_id id, worker_id on) {
  const auto& target = workers_.at(on);
  if (is_condemned(groups_.at(id)) || !target.member || target.flipping()
      || target.running.size() + target.reserved >= target.capacity || phase_ != phase::running)
    return;
  queued_.erase(id);
  place(id, groups_.at(id), on);
}

/// The few groups of a worker that takes no more go to the fullest other one of the same version that has room for all.
void scheduler::repack(worker_id id, worker& one) {
  if (one.running.empty() || !one.closed
      || static_cast<double>(one.running.size()) >= config_.tail.repack_below * one.capacity)
    return;
  if (groups_.at(one.running.front()).interrupted || phase_ != phase::running)
    return;
  worker* best = nullptr;
  worker_id best_id = 0;
  for (auto& [other, to] : workers_)
    if (other != id && to.holds == one.holds && !to.running.empty() && to.running.size() >= one.running.size()
        && !groups_.at(to.running.front()).interrupted
        && to.running.size() + to.reserved + one.running.size() <= to.capacity
        && (!best || to.running.size() > best->running.size())) {
      best = &to;
      best_id = other;
    }
  if (!best)
    return;
  for (const auto moved : one.running) {
    if (groups_.at(moved).interrupted)
      continue;
    ask_for_partial(moved, groups_.at(moved), best_id);
    ++best->reserved;
  }
  offer(best_id, *best);
}

// -- what makes a batch -----------------------------------------------------------------------------------------------

batch_rule::request scheduler::next_request() const {
  batch_rule::request next;
  next.step = step_;
  next.part = part_;
  next.size = config_.part_begin(part_ + 1) - config_.part_begin(part_);
  next.last = is_last_batch();
  next.tokens = config_.select.tokens_per_step;
  next.fresh = more_to_start() || !queued_.empty();
  if (config_.faults.lost_group == lost_group::shrink)
    next.below = (group_id{step_} + 1) * config_.groups_per_step;
  return next;
}

void scheduler::cut_batch() {
  closing_ = false;
  if (training_)
    return;
  const auto next = next_request();
  if (next.below > 0 && static_cast<group_id>(ledger_.sums().admitted) < next.below && !next.last)
    return;
  const auto begin = std::size_t{config_.select.min_ready == 0 ? config_.groups_per_step : config_.select.min_ready};
  const bool enough = rule_.ready() >= begin || (next.tokens > 0 && rule_.ready_tokens() >= next.tokens);
  if (part_ == 0 && next.below == 0 && !enough && !(next.last && rule_.ready() == rule_.live()))
    return;
  if (!rule_.able(next))
    return;
  const auto generating = ledger_.live(group_state::generating).groups;
  const bool frees = config_.tail.stop == tail_stop::first_k || config_.interrupt.mode == interrupt_mode::abort_resume
                     || config_.interrupt.mode == interrupt_mode::abort_discard;
  if (config_.place.mode == place_mode::timeshare && generating > 0) {
    if (frees) {
      closing_ = true;
      end_round();
    }
    if (ledger_.live(group_state::generating).groups > 0)
      return; // until the last one has ended, or is handed over
    closing_ = false;
  }
  auto groups = rule_.cut(next);
  if (!groups)
    return;
  if (config_.faults.lost_group == lost_group::shrink
      && (groups->empty()
          || static_cast<double>(groups->size()) < config_.faults.min_batch_fraction * config_.groups_per_step)
      && (groups->empty() || !next.last)) {
    for (const auto id : *groups)
      rule_.give_back(id, groups_.at(id).age_from, groups_.at(id).tokens);
    return give_up(finish_reason::losses, "step " + std::to_string(step_) + " has " + std::to_string(groups->size())
                                              + " of " + std::to_string(config_.groups_per_step) + " groups left");
  }
  batch made;
  made.since_s = now_s_;
  made.ends_step = part_ + 1 == config_.clock.minibatches || (next.last && rule_.live() == 0);
  if (config_.stale.action == stale_action::withhold || config_.stale.action == stale_action::mask_tokens) {
    made.train_from = oldest_usable();
    made.mask = config_.stale.action == stale_action::withhold ? age_mask::answers : age_mask::tokens;
  }
  for (std::size_t i = 0; i < groups->size(); ++i) {
    groups_.prefetch((*groups)[std::min(i + 8, groups->size() - 1)]);
    auto& one = groups_.at((*groups)[i]);
    set_state(one, group_state::training);
    made.tokens += one.tokens;
    if (made.mask != age_mask::none)
      made.too_old += one.counted.sum_before(made.train_from);
  }
  actions_.emplace_back(cut{step_, *groups, part_, made.ends_step, made.mask, made.train_from});
  made.groups = *std::move(groups);
  training_ = std::move(made);
  if (!training_->ends_step)
    return;
  if (config_.tail.stop == tail_stop::first_k || config_.place.mode == place_mode::timeshare)
    rounds_cut_ = step_ + 1;
  if (config_.tail.stop == tail_stop::first_k)
    end_round();
}

void scheduler::end_round() {
  if (config_.tail.stop == tail_stop::all) {
    for (const auto id : generating_ids()) {
      auto& one = groups_.at(id);
      if (config_.interrupt.mode == interrupt_mode::abort_resume) {
        ask_for_partial(id, one);
      } else {
        stop_generating(id, one);
        requeue(id, one);
      }
    }
    return;
  }
  if (config_.tail.surplus == tail_surplus::recycle_partial) {
    for (const auto id : generating_ids())
      ask_for_partial(id, groups_.at(id));
    return;
  }
  const bool before_cut = !training_;
  for (const auto id : live_ids()) {
    auto& one = groups_.at(id);
    if (one.state == group_state::training || one.state == group_state::parked
        || (before_cut && one.state != group_state::generating))
      continue;
    if (config_.tail.surplus == tail_surplus::long_round && !long_round_) {
      withdraw(id, one);
      park(id, one);
    } else {
      stop_generating(id, one);
      drop_group(id, one, drop_reason::surplus, "its round had its batch");
    }
  }
  long_round_ = long_round_ && before_cut;
}

// -- the learner's hardware -------------------------------------------------------------------------------------------

/// `lend`: what it generates on ends, or is handed back, once enough of the next batch is ready.
void scheduler::reclaim() {
  if (config_.place.mode != place_mode::lend)
    return;
  const bool wanted = training_ && static_cast<double>(rule_.ready()) >= reclaim_at_ * config_.groups_per_step;
  if (wanted == reclaimed_)
    return;
  reclaimed_ = wanted;
  for (auto& [id, one] : workers_)
    if (one.lent) {
      if (reclaimed_)
        interrupt_worker(one);
      offer(id, one);
    }
}

// -- the bound --------------------------------------------------------------------------------------------------------

version_id scheduler::oldest_usable() const {
  return config_.stale.bounded() ? age_limit(config_).oldest(step_, part_) : 0;
}

bool scheduler::is_condemned(const group& one) const {
  const bool takes_out = config_.stale.action == stale_action::drop || config_.stale.action == stale_action::requeue;
  return takes_out && one.born < oldest_usable();
}

void scheduler::too_old(group_id id, group& one) {
  if (config_.stale.action == stale_action::requeue) {
    withdraw(id, one);
    return requeue(id, one);
  }
  const auto age = std::to_string(step_ - (one.state == group_state::ready ? one.age_from : one.born));
  stop_generating(id, one);
  drop_group(id, one, drop_reason::stale, "it is " + age + " versions old");
}

void scheduler::sweep_ready() {
  if (phase_ != phase::running || training_
      || (config_.stale.action != stale_action::drop && config_.stale.action != stale_action::requeue))
    return;
  for (const auto id : rule_.overdue(oldest_usable()))
    too_old(id, groups_.at(id));
}

void scheduler::sweep_running() {
  const auto update = std::uint64_t{step_} * config_.clock.minibatches + part_;
  if (config_.stale.check != stale_check::publish || swept_ == update)
    return;
  swept_ = update;
  for (const auto id : generating_ids())
    if (auto& one = groups_.at(id); is_condemned(one) && !one.interrupted)
      too_old(id, one);
}

} // namespace millrace::schedule
