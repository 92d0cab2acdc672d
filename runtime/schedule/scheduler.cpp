#include "runtime/schedule/scheduler.hpp"

#include "runtime/input_error.hpp"

#include <algorithm>
#include <stdexcept>

namespace millrace::schedule {

namespace {

const config& checked(const config& wanted) {
  const auto found = problems(wanted);
  if (found.empty())
    return wanted;
  std::string all = "schedule: " + found.front();
  for (std::size_t i = 1; i < found.size(); ++i)
    all += "; " + found[i];
  throw input_error(all);
}

} // namespace

scheduler::scheduler(const config& wanted) : config_(checked(wanted)), rule_(wanted) {}

std::vector<action> scheduler::on(const event& what, double now_s) {
  now_s_ = now_s;
  std::visit([this](const auto& one) { handle(one); }, what);
  advance();
  return std::exchange(actions_, {});
}

group_id scheduler::oldest_live() const {
  auto oldest = static_cast<group_id>(ledger_.sums().admitted);
  for (const auto& [id, one] : groups_)
    oldest = std::min(oldest, id);
  return oldest;
}

progress scheduler::at() const {
  progress result;
  result.step = step_;
  result.steps = config_.steps;
  result.version = version_;
  result.next_group = static_cast<std::uint64_t>(ledger_.sums().admitted);
  result.consumed = static_cast<std::uint64_t>(ledger_.trained().groups);
  result.workers = static_cast<std::uint32_t>(workers_.size());
  result.queued = ledger_.live(group_state::queued).groups;
  result.generating = ledger_.live(group_state::generating).groups;
  result.finished = ledger_.live(group_state::finished).groups;
  result.ready = ledger_.live(group_state::ready).groups;
  result.training = ledger_.live(group_state::training).groups;
  result.lead_steps = static_cast<double>(groups_.size() + result.consumed) / config_.groups_per_step - version_;
  return result;
}

// -- workers ----------------------------------------------------------------------------------------

void scheduler::handle(const worker_joined& what) {
  if (what.capacity_groups < 1)
    throw std::invalid_argument("worker_joined: capacity_groups: want at least 1, got 0");
  forget_worker(what.worker);
  auto& one = workers_[what.worker];
  one.name = what.name;
  one.capacity = what.capacity_groups;
  // A version beyond the learner's is of an earlier life of the run.
  one.holds = what.holds && *what.holds <= step_ ? what.holds : std::nullopt;
  one.since_s = now_s_;
  if (!one.holds || *one.holds < step_)
    outdated_.insert(what.worker);
  join_members(one);
  offer(what.worker, one);
}

void scheduler::handle(const worker_lost& what) {
  if (!workers_.contains(what.worker)) {
    ++ignored_;
    return;
  }
  forget_worker(what.worker);
}

void scheduler::forget_worker(worker_id id) {
  const auto where = workers_.find(id);
  if (where == workers_.end())
    return;
  auto& one = where->second;
  for (const auto running : std::exchange(one.running, {}))
    retry(groups_.find(running), one.name + " was lost");
  if (one.member)
    if (const auto held = held_.find(*one.holds); --held->second == 0)
      held_.erase(held);
  free_.erase({-std::int64_t{one.offered}, id});
  outdated_.erase(id);
  workers_.erase(where);
}

void scheduler::handle(const version_acknowledged& what) {
  const auto where = workers_.find(what.worker);
  if (where == workers_.end() || !where->second.sent || what.version > *where->second.sent ||
      (where->second.holds && what.version <= *where->second.holds)) {
    ++ignored_;
    return;
  }
  auto& one = where->second;
  if (one.member)
    if (const auto held = held_.find(*one.holds); --held->second == 0)
      held_.erase(held);
  one.member = false;
  one.holds = what.version;
  one.since_s = now_s_;
  join_members(one);
  offer(what.worker, one);
}

void scheduler::join_members(worker& one) {
  if (!one.holds || *one.holds < version_)
    return;
  one.member = true;
  ++held_[*one.holds];
}

void scheduler::offer(worker_id id, worker& one) {
  const bool may = one.member && (config_.in_flight_update || !one.flipping());
  const auto places = may ? one.capacity - static_cast<std::uint32_t>(one.running.size()) : 0;
  if (places == one.offered)
    return;
  free_.erase({-std::int64_t{one.offered}, id});
  if (places > 0)
    free_.emplace(-std::int64_t{places}, id);
  one.offered = places;
}

// -- groups -----------------------------------------------------------------------------------------

scheduler::group_entry scheduler::current(group_id id, std::uint32_t attempt, std::initializer_list<group_state> states) {
  const auto found = groups_.find(id);
  if (found != groups_.end() && found->second.attempt == attempt &&
      std::find(states.begin(), states.end(), found->second.state) != states.end())
    return found;
  ++ignored_;
  return groups_.end();
}

void scheduler::set_state(group& one, group_state state) {
  ledger_.move(one.state, state, one.tokens);
  one.state = state;
  one.since_s = now_s_;
}

std::vector<group_id> scheduler::live_ids() const {
  std::vector<group_id> ids;
  ids.reserve(groups_.size());
  for (const auto& [id, one] : groups_)
    ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

void scheduler::stop_generating(group_entry entry) {
  const auto& one = entry->second;
  if (one.state != group_state::generating)
    return;
  take_off_worker(entry);
  actions_.emplace_back(cancel{entry->first, one.attempt, one.worker});
}

void scheduler::take_off_worker(group_entry entry) {
  const auto id = entry->second.worker;
  const auto where = workers_.find(id);
  if (where == workers_.end() || where->second.running.erase(entry->first) == 0)
    return;
  where->second.since_s = now_s_;
  offer(id, where->second);
}

void scheduler::handle(const group_finished& what) {
  const auto entry = current(what.group, what.attempt, {group_state::generating});
  if (entry == groups_.end())
    return;
  auto& one = entry->second;
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < what.tokens.size(); ++i) {
    if (what.tokens[i].tokens < 0 || (i > 0 && what.tokens[i].version <= what.tokens[i - 1].version))
      throw std::invalid_argument("group_finished: tokens: want ascending versions and counts >= 0");
    tokens += what.tokens[i].tokens;
  }
  if (!what.tokens.empty() && (what.tokens.front().version < one.born || what.tokens.back().version > step_))
    ledger_.dispute("group " + std::to_string(what.group) + ": token versions " + std::to_string(what.tokens.front().version) +
                    " to " + std::to_string(what.tokens.back().version) + ", but it was started under version " +
                    std::to_string(one.born) + " and the newest is " + std::to_string(step_));
  if (what.baseline_tokens < 0)
    throw std::invalid_argument("group_finished: baseline_tokens: want >= 0");
  take_off_worker(entry);
  ledger_.generate(group_state::generating, tokens);
  ledger_.spend(drop_reason::baseline, what.baseline_tokens);
  one.tokens = tokens;
  one.by_version = what.tokens;
  set_state(one, group_state::finished);
}

void scheduler::handle(const group_ready& what) {
  const auto entry = current(what.group, what.attempt, {group_state::finished});
  if (entry == groups_.end())
    return;
  set_state(entry->second, group_state::ready);
  rule_.ready(what.group, entry->second.born);
}

void scheduler::handle(const group_flat& what) {
  const auto entry = current(what.group, what.attempt, {group_state::finished});
  if (entry == groups_.end())
    return;
  if (flat_dropped_ < config_.flat_groups_per_step) {
    ++flat_dropped_;
    drop_group(entry, drop_reason::zero_variance, "all its rewards are the same");
    return;
  }
  set_state(entry->second, group_state::ready);
  rule_.ready(what.group, entry->second.born);
}

void scheduler::handle(const group_failed& what) {
  const auto entry = current(what.group, what.attempt, {group_state::generating, group_state::finished, group_state::ready});
  if (entry == groups_.end())
    return;
  auto& one = entry->second;
  if (what.tokens < 0)
    throw std::invalid_argument("group_failed: tokens: want >= 0");
  if (one.state == group_state::generating) {
    take_off_worker(entry);
    ledger_.generate(group_state::generating, what.tokens);
    one.tokens = what.tokens;
  }
  if (what.retryable)
    retry(entry, what.why);
  else
    drop_group(entry, drop_reason::data, what.why);
}

void scheduler::handle(const group_lost& what) {
  const auto entry = current(what.group, what.attempt, {group_state::finished, group_state::ready});
  if (entry != groups_.end())
    retry(entry, "its tensors were lost");
}

void scheduler::requeue(group_entry entry) {
  auto& one = entry->second;
  rule_.requeue(entry->first, one.born);
  ledger_.lose(one.state, one.tokens);
  one.state = group_state::queued;
  one.tokens = 0;
  one.by_version.clear();
  one.since_s = now_s_;
  queued_.insert(entry->first);
}

void scheduler::retry(group_entry entry, const std::string& why) {
  if (++entry->second.failures < config_.attempts_per_group)
    requeue(entry);
  else
    drop_group(entry, drop_reason::attempts,
               std::to_string(entry->second.failures) + (entry->second.failures == 1 ? " attempt" : " attempts") +
                   " lost, the last one because " + why);
}

void scheduler::drop_group(group_entry entry, drop_reason reason, std::string why) {
  const auto& one = entry->second;
  if (one.state == group_state::queued) {
    queued_.erase(entry->first);
    rule_.leave_queued(entry->first);
  } else {
    rule_.leave(entry->first, one.born);
  }
  ledger_.drop(one.state, reason, one.tokens);
  actions_.emplace_back(drop{entry->first, reason, std::move(why)});
  groups_.erase(entry);
}

// -- the learner ------------------------------------------------------------------------------------

void scheduler::handle(const batch_trained& what) {
  if (!training_ || what.step != step_) {
    ++ignored_;
    return;
  }
  if (what.masked < 0 || what.tokens + what.masked != training_->tokens)
    ledger_.dispute("step " + std::to_string(what.step) + ": the learner trained " + std::to_string(what.tokens) +
                    (what.masked != 0 ? " and masked " + std::to_string(what.masked) : std::string()) + " tokens, the groups of its batch have " + std::to_string(training_->tokens));
  for (const auto id : training_->groups) {
    const auto entry = groups_.find(id);
    staleness_.add(step_, entry->second.born, entry->second.by_version);
    ledger_.train(entry->second.tokens);
    groups_.erase(entry);
  }
  ledger_.mask(what.masked);
  training_.reset();
  flat_dropped_ = 0;
  ++step_;
  learner_since_s_ = now_s_;
  for (const auto& [id, one] : workers_)
    outdated_.insert(outdated_.end(), id);
  if (config_.checkpoint_every > 0 && step_ % config_.checkpoint_every == 0)
    save_now();
}

void scheduler::handle(const training_lost& what) {
  if (!training_ || what.step != step_) {
    ++ignored_;
    return;
  }
  for (const auto id : training_->groups) {
    auto& one = groups_.at(id);
    set_state(one, group_state::ready);
    rule_.give_back(id, one.born);
  }
  training_.reset();
  learner_since_s_ = now_s_;
}

// -- the run ----------------------------------------------------------------------------------------

void scheduler::handle(const prompts_exhausted& what) {
  prompts_ = std::min(what.count, prompts_.value_or(what.count));
  for (const auto id : live_ids()) {
    const auto entry = groups_.find(id);
    if (id < *prompts_ || entry->second.state == group_state::training)
      continue;
    stop_generating(entry);
    drop_group(entry, drop_reason::unneeded, "there are only " + std::to_string(*prompts_) + " prompts");
  }
}

void scheduler::handle(const checkpointed& what) {
  if (checkpoint_asked_ && what.step <= *checkpoint_asked_ && (!checkpoint_saved_ || what.step > *checkpoint_saved_))
    checkpoint_saved_ = what.step;
  else
    ++ignored_;
}

void scheduler::handle(const stop_requested&) {
  if (phase_ != phase::running) {
    ++ignored_;
    return;
  }
  phase_ = phase::stopping;
  for (const auto id : live_ids()) {
    const auto entry = groups_.find(id);
    if (entry->second.state != group_state::generating)
      continue;
    stop_generating(entry);
    requeue(entry);
  }
}

} // namespace millrace::schedule
