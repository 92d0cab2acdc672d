#include "runtime/schedule/scheduler.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace millrace::schedule {

namespace {

/// @throws std::invalid_argument unless the sum is below 2^32
std::int64_t checked_sum(const version_counts& tokens, const char* where) {
  const auto sum = tokens.sum();
  if (sum > 0xffffffff)
    throw std::invalid_argument(std::string(where) + ": found " + std::to_string(sum)
                                + ", want fewer than 2^32 in all");
  return sum;
}

} // namespace

scheduler::group* scheduler::current(group_id id, std::uint32_t attempt, std::initializer_list<group_state> states) {
  auto* found = groups_.find(id);
  if (found && found->attempt == attempt && std::find(states.begin(), states.end(), found->state) != states.end())
    return found;
  ++ignored_;
  return nullptr;
}

void scheduler::set_state(group& one, group_state state) {
  ledger_.move(one.state, state, one.tokens);
  one.state = state;
  one.since_s = now_s_;
}

std::vector<group_id> scheduler::live_ids() const {
  std::vector<group_id> ids;
  ids.reserve(groups_.size());
  groups_.each([&](group_id id, const group&) { ids.push_back(id); });
  return ids;
}

std::vector<group_id> scheduler::generating_ids() const {
  std::vector<group_id> ids;
  for (const auto& [number, one] : workers_)
    ids.insert(ids.end(), one.running.begin(), one.running.end());
  std::sort(ids.begin(), ids.end());
  return ids;
}

void scheduler::take_off_worker(group_id id, group& one) {
  one.interrupted = false;
  if (const auto target = target_of(id)) {
    moves_.erase(id);
    if (const auto to = workers_.find(*target); to != workers_.end()) {
      --to->second.reserved;
      offer(to->first, to->second);
    }
  }
  const auto where = workers_.find(one.worker);
  if (where == workers_.end())
    return;
  auto& host = where->second;
  if (one.place >= host.running.size() || host.running[one.place] != id)
    return;
  const auto last = host.running.back();
  host.running[one.place] = last;
  groups_.at(last).place = one.place;
  host.running.pop_back();
  host.since_s = now_s_;
  host.closed = config_.publish.pattern == publish_pattern::pull && !host.running.empty();
  offer(where->first, host);
}

void scheduler::stop_generating(group_id id, group& one) {
  if (one.state != group_state::generating)
    return;
  take_off_worker(id, one);
  actions_.emplace_back(cancel{id, one.attempt, one.worker});
}

void scheduler::withdraw(group_id id, group& one) {
  if (one.state == group_state::generating)
    stop_generating(id, one);
  else if (one.state == group_state::finished || one.state == group_state::ready || one.partial)
    actions_.emplace_back(cancel{id, one.attempt, one.worker});
}

void scheduler::ask_for_partial(group_id id, group& one, std::optional<worker_id> target) {
  if (one.state != group_state::generating || std::exchange(one.interrupted, true))
    return;
  if (target)
    moves_[id] = *target;
  actions_.emplace_back(interrupt{id, one.attempt, one.worker});
}

void scheduler::count_tokens(group& one, const version_counts& tokens, std::int64_t sum, std::int64_t surplus) {
  if (sum + surplus < one.tokens)
    ledger_.dispute("a group that went on has " + std::to_string(sum + surplus) + " tokens, and had "
                    + std::to_string(one.tokens) + " before");
  ledger_.generate(one.state, sum + surplus - one.tokens);
  ledger_.cut_off(one.state, surplus);
  one.tokens = sum;
  if (tokens.empty() || tokens.newest() <= step_) // what is disputed is counted under no version
    one.counted.assign(tokens);
}

void scheduler::forget_group(group_id id, group& one) {
  one.counted.clear();
  groups_.erase(id);
  if (!lost_attempts_.empty())
    lost_attempts_.erase(id);
  if (!moves_.empty())
    moves_.erase(id);
}

std::optional<worker_id> scheduler::target_of(group_id id) const {
  const auto found = moves_.find(id);
  return found != moves_.end() ? std::optional(found->second) : std::nullopt;
}

void scheduler::handle(const group_finished& told) {
  auto* one = current(told.group, told.attempt, {group_state::generating});
  if (!one)
    return;
  const auto sum = checked_sum(told.tokens, "group_finished: tokens");
  const auto sum_of_answers = checked_sum(told.answers, "group_finished: answers");
  if (!told.tokens.empty() && (told.tokens.oldest() < one->born || told.tokens.newest() > step_))
    ledger_.dispute("group " + std::to_string(told.group) + ": token versions " + std::to_string(told.tokens.oldest())
                    + " to " + std::to_string(told.tokens.newest()) + ", but it was started under version "
                    + std::to_string(one->born) + " and the newest is " + std::to_string(step_));
  if (!told.answers.empty() && sum_of_answers != sum)
    ledger_.dispute("group " + std::to_string(told.group) + ": its answers have " + std::to_string(sum_of_answers)
                    + " tokens, its versions " + std::to_string(sum));
  if (told.baseline_tokens < 0 || told.surplus_tokens < 0)
    throw std::invalid_argument("group_finished: baseline_tokens, surplus_tokens: want >= 0");
  const auto host = one->worker;
  take_off_worker(told.group, *one);
  count_tokens(*one, told.tokens, sum, told.surplus_tokens);
  ledger_.spend(drop_reason::baseline, told.baseline_tokens);
  if (told.tokens.empty() || config_.stale.measure == stale_measure::born)
    one->age_from = one->born;
  else
    one->age_from = config_.stale.measure == stale_measure::head ? told.tokens.oldest() : told.tokens.newest();
  if (config_.stale.action == stale_action::withhold && !told.answers.empty() && told.answers.newest() <= step_)
    one->counted.assign(told.answers);
  else if (config_.stale.action == stale_action::withhold && one->tokens > 0 && !one->counted.all().empty())
    one->counted.assign({{told.tokens.oldest(), one->tokens}});
  one->partial = false;
  set_state(*one, group_state::finished);
  if (config_.tail.repack_below > 0)
    repack(host, workers_.at(host));
}

void scheduler::handle(const group_interrupted& told) {
  auto* one = current(told.group, told.attempt, {group_state::generating});
  if (!one)
    return;
  if (!one->interrupted) {
    ++ignored_;
    return;
  }
  const auto sum = checked_sum(told.tokens, "group_interrupted: tokens");
  const auto target = target_of(told.group);
  take_off_worker(told.group, *one);
  count_tokens(*one, told.tokens, sum);
  if (one->tokens == 0)
    return requeue(told.group, *one);
  one->partial = true;
  set_state(*one, group_state::queued);
  queued_.insert(told.group);
  if (target)
    if (const auto to = workers_.find(*target); to != workers_.end())
      place_on(told.group, to->first);
}

void scheduler::handle(const group_ready& told) {
  if (auto* one = current(told.group, told.attempt, {group_state::finished}))
    make_ready(told.group, *one);
}

void scheduler::handle(const group_flat& told) {
  auto* one = current(told.group, told.attempt, {group_state::finished});
  if (!one)
    return;
  if (flat_dropped_ >= config_.flat_groups_per_step)
    return make_ready(told.group, *one);
  ++flat_dropped_;
  losses_in_a_row_ = 0;
  drop_group(told.group, *one, drop_reason::zero_variance, "all its rewards are the same");
}

void scheduler::make_ready(group_id id, group& one) {
  set_state(one, group_state::ready);
  rule_.ready(id, one.born, one.age_from, one.tokens);
  losses_in_a_row_ = 0;
}

void scheduler::handle(const group_failed& told) {
  auto* one = current(told.group, told.attempt, {group_state::generating, group_state::finished, group_state::ready});
  if (!one)
    return;
  if (told.tokens < 0)
    throw std::invalid_argument("group_failed: tokens: want >= 0");
  if (one->state == group_state::generating) {
    take_off_worker(told.group, *one);
    ledger_.generate(group_state::generating, told.tokens);
    one->tokens += told.tokens;
  }
  if (told.retryable)
    retry(told.group, *one, told.why);
  else if (++lost_attempts_[told.group].data < config_.faults.data_attempts)
    requeue(told.group, *one);
  else
    drop_group(told.group, *one, drop_reason::data, told.why);
}

void scheduler::handle(const group_overdue& told) {
  auto* one = current(told.group, told.attempt, {group_state::generating, group_state::finished});
  if (!one)
    return;
  const bool ran = one->state == group_state::generating;
  const auto name = ran ? workers_.at(one->worker).name : std::string();
  withdraw(told.group, *one);
  retry(told.group, *one, ran ? name + " did not finish it in time" : "its columns did not come in time");
}

std::vector<group_overdue> scheduler::overdue(double now_s) const {
  std::vector<group_overdue> found;
  if (config_.faults.call_deadline_s > 0 && phase_ == phase::running)
    groups_.each([&](group_id id, const group& one) {
      if ((one.state == group_state::generating || one.state == group_state::finished)
          && now_s - one.since_s > config_.faults.call_deadline_s)
        found.push_back({id, one.attempt});
    });
  return found;
}

std::optional<double> scheduler::under_way_since_s(group_id id, std::uint32_t attempt) const {
  const auto* one = groups_.find(id);
  if (!one || one->attempt != attempt || (one->state != group_state::generating && one->state != group_state::finished))
    return std::nullopt;
  return one->since_s;
}

void scheduler::handle(const group_lost& told) {
  auto* one = current(told.group, told.attempt, {group_state::queued, group_state::finished, group_state::ready});
  if (!one)
    return;
  if (is_queued_afresh(*one)) {
    ++ignored_;
    return;
  }
  retry(told.group, *one, "its tensors were lost");
}

void scheduler::leave_rule(group_id id, const group& one) {
  if (one.state == group_state::parked)
    return;
  if (is_queued_afresh(one))
    return rule_.leave_queued(id);
  if (one.state == group_state::ready)
    rule_.leave(id, one.age_from, batch_rule::started::is_ready);
  else
    rule_.leave(id, one.born, batch_rule::started::waits_for_columns);
}

void scheduler::requeue(group_id id, group& one) {
  if (one.state == group_state::parked) {
    parked_.erase(id);
    rule_.queue(id);
  } else if (one.state == group_state::ready) {
    rule_.requeue(id, one.age_from, batch_rule::started::is_ready);
  } else if (!is_queued_afresh(one)) {
    rule_.requeue(id, one.born, batch_rule::started::waits_for_columns);
  }
  ledger_.lose(one.state, group_state::queued, one.tokens);
  one.state = group_state::queued;
  one.interrupted = false;
  one.partial = false;
  one.tokens = 0;
  one.counted.clear();
  one.since_s = now_s_;
  queued_.insert(id);
}

void scheduler::park(group_id id, group& one) {
  leave_rule(id, one);
  queued_.erase(id);
  ledger_.lose(one.state, group_state::parked, one.tokens);
  one.state = group_state::parked;
  one.partial = false;
  one.tokens = 0;
  one.counted.clear();
  one.since_s = now_s_;
  parked_.insert(id);
}

void scheduler::retry(group_id id, group& one, const std::string& why) {
  const auto failures = ++lost_attempts_[id].infrastructure;
  if (failures < config_.faults.attempts)
    return requeue(id, one);
  drop_group(id, one, drop_reason::attempts,
             std::to_string(failures) + (failures == 1 ? " attempt" : " attempts") + " lost, the last one because "
                 + why);
}

void scheduler::drop_group(group_id id, group& one, drop_reason reason, std::string why) {
  leave_rule(id, one);
  queued_.erase(id);
  parked_.erase(id);
  ledger_.drop(one.state, reason, one.tokens);
  forget_group(id, one);
  if (reason == drop_reason::data || reason == drop_reason::attempts)
    lose_for_good("group " + std::to_string(id) + ": " + why);
  actions_.emplace_back(drop{id, reason, std::move(why)});
}

void scheduler::lose_for_good(const std::string& why) {
  ++losses_in_a_row_;
  if (config_.faults.lost_group == lost_group::fail)
    give_up(finish_reason::losses, why);
  else if (config_.faults.consecutive_losses > 0 && losses_in_a_row_ >= config_.faults.consecutive_losses)
    give_up(finish_reason::losses,
            std::to_string(losses_in_a_row_) + " groups in a row were lost, the last one " + why);
}

} // namespace millrace::schedule
