#include "runtime/schedule/scheduler.hpp"

#include "runtime/input_error.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace millrace::schedule {

namespace {

const config& checked(const config& wanted) {
  const auto found = problems(wanted);
  if (found.empty())
    return wanted;
  std::string all = "schedule: ";
  for (const auto& one : found)
    all += (all.size() > 10 ? "; " : "") + one.field + ": " + one.text;
  throw input_error(all);
}

/// @throws std::invalid_argument unless the sum is below 2^32
std::int64_t checked_sum(const version_counts& tokens, const char* where) {
  const auto sum = tokens.sum();
  if (sum > 0xffffffff)
    throw std::invalid_argument(std::string(where) + ": found " + std::to_string(sum) + ", want fewer than 2^32 in all");
  return sum;
}

} // namespace

scheduler::scheduler(const config& wanted) : config_(checked(wanted)), rule_(wanted), reclaim_at_(wanted.reclaim_at) {
  const auto last = config_.steps - 1;
  for (const bool oversampled : {false, true})
    last_limit_[oversampled] = admission_limit(config_, {last, 0, last, oversampled});
}

const std::vector<action>& scheduler::on(const event& what, double now_s) {
  now_s_ = now_s;
  actions_.clear();
  std::visit([this](const auto& one) { handle(one); }, what);
  advance();
  return actions_;
}

group_id scheduler::oldest_live() const {
  return groups_.empty() ? static_cast<group_id>(ledger_.sums().admitted) : groups_.lowest();
}

progress scheduler::at() const {
  progress result;
  result.step = step_;
  result.steps = config_.steps;
  result.part = part_;
  result.version = version_;
  result.next_group = static_cast<std::uint64_t>(ledger_.sums().admitted);
  result.consumed = static_cast<std::uint64_t>(ledger_.trained().groups);
  result.workers = static_cast<std::uint32_t>(workers_.size());
  result.queued = ledger_.live(group_state::queued).groups;
  result.parked = ledger_.live(group_state::parked).groups;
  result.generating = ledger_.live(group_state::generating).groups;
  result.finished = ledger_.live(group_state::finished).groups;
  result.ready = ledger_.live(group_state::ready).groups;
  result.training = ledger_.live(group_state::training).groups;
  result.lead_steps = static_cast<double>(committed()) / config_.groups_per_step - version_;
  const auto most = most_committed();
  result.free_credits = static_cast<double>(most - std::min(most, committed()));
  return result;
}

std::uint64_t scheduler::consumed() const {
  if (config_.tokens_per_step > 0)
    return std::uint64_t{step_} * config_.groups_per_step;
  auto groups = ledger_.trained().groups;
  if (config_.lost == lost_group::shrink)
    groups += ledger_.dropped(drop_reason::data).groups + ledger_.dropped(drop_reason::attempts).groups;
  return static_cast<std::uint64_t>(groups);
}

// -- workers ----------------------------------------------------------------------------------------

void scheduler::handle(const worker_joined& what) {
  if (what.capacity_groups < 1)
    throw std::invalid_argument("worker_joined: capacity_groups: want at least 1, got 0");
  forget_worker(what.worker);
  auto& one = workers_[what.worker];
  one.name = what.name;
  one.capacity = what.capacity_groups;
  // A version that this life of the run has not published is of another one.
  one.holds = what.holds && *what.holds <= published_ ? what.holds : std::nullopt;
  one.lent = what.lent && config_.place == place_mode::lend;
  one.since_s = now_s_;
  if (!one.holds || *one.holds < published_)
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
  for (const auto running : std::exchange(one.running, {})) {
    auto& left = groups_.at(running);
    if (const auto target = target_of(running))
      if (const auto to = workers_.find(*target); to != workers_.end()) {
        --to->second.reserved;
        offer(to->first, to->second);
      }
    forget_target(running);
    retry(running, left, one.name + " was lost");
  }
  for (auto& [moved, what] : misfortunes_)
    if (what.target == id)
      what.target.reset();
  leave_members(one);
  flipping_ -= one.in_turn;
  late_ -= one.late;
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
  leave_members(one);
  one.holds = what.version;
  late_ -= std::exchange(one.late, false);
  if (!one.flipping())
    flipping_ -= std::exchange(one.in_turn, false);
  one.since_s = one.behind_s = now_s_;
  join_members(one);
  offer(what.worker, one);
}

void scheduler::handle(const weights_overdue& what) {
  const auto where = workers_.find(what.worker);
  if (where == workers_.end() || !where->second.flipping() || where->second.late || what.version > *where->second.sent ||
      (where->second.holds && what.version <= *where->second.holds)) {
    ++ignored_;
    return;
  }
  auto& one = where->second;
  one.late = true;
  ++late_;
  flipping_ -= std::exchange(one.in_turn, false);
  if (phase_ != phase::running || outdated_.contains(what.worker))
    return; // the newest goes there as soon as it may
  sweep_running();
  actions_.emplace_back(publish{*one.sent, {what.worker}});
}

std::vector<weights_overdue> scheduler::late_weights(double now_s) const {
  std::vector<weights_overdue> found;
  if (config_.publish_deadline_s > 0 && phase_ == phase::running)
    for (const auto& [id, one] : workers_)
      if (one.flipping() && !one.late && now_s - one.behind_s > config_.publish_deadline_s)
        found.push_back({id, *one.sent});
  return found;
}

void scheduler::join_members(worker& one) {
  if (!one.holds || (config_.pattern != publish_pattern::pull && *one.holds < version_))
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
  return config_.action == stale_action::wait || *one.holds >= oldest_usable();
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

// -- groups -----------------------------------------------------------------------------------------

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
    forget_target(id);
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
  host.closed = config_.pattern == publish_pattern::pull && !host.running.empty();
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
    misfortunes_[id].target = target;
  actions_.emplace_back(interrupt{id, one.attempt, one.worker});
}

void scheduler::count_tokens(group& one, const version_counts& tokens, std::int64_t sum, std::int64_t surplus) {
  if (sum + surplus < one.tokens)
    ledger_.dispute("a group that went on has " + std::to_string(sum + surplus) + " tokens, and had " + std::to_string(one.tokens) + " before");
  ledger_.generate(one.state, sum + surplus - one.tokens);
  ledger_.cut_off(one.state, surplus);
  one.tokens = sum;
  if (tokens.empty() || tokens.newest() <= step_) // what is disputed is counted under no version
    one.counted.assign(tokens);
}

void scheduler::forget_group(group_id id, group& one) {
  one.counted.clear();
  groups_.erase(id);
  if (!misfortunes_.empty())
    misfortunes_.erase(id);
}

std::optional<worker_id> scheduler::target_of(group_id id) const {
  if (misfortunes_.empty())
    return std::nullopt;
  const auto found = misfortunes_.find(id);
  return found != misfortunes_.end() ? found->second.target : std::nullopt;
}

void scheduler::forget_target(group_id id) {
  if (const auto found = misfortunes_.find(id); found != misfortunes_.end())
    found->second.target.reset();
}

void scheduler::handle(const group_finished& what) {
  auto* one = current(what.group, what.attempt, {group_state::generating});
  if (!one)
    return;
  const auto sum = checked_sum(what.tokens, "group_finished: tokens");
  const auto sum_of_answers = checked_sum(what.answers, "group_finished: answers");
  if (!what.tokens.empty() && (what.tokens.oldest() < one->born || what.tokens.newest() > step_))
    ledger_.dispute("group " + std::to_string(what.group) + ": token versions " + std::to_string(what.tokens.oldest()) +
                    " to " + std::to_string(what.tokens.newest()) + ", but it was started under version " +
                    std::to_string(one->born) + " and the newest is " + std::to_string(step_));
  if (!what.answers.empty() && sum_of_answers != sum)
    ledger_.dispute("group " + std::to_string(what.group) + ": its answers have " + std::to_string(sum_of_answers) +
                    " tokens, its versions " + std::to_string(sum));
  if (what.baseline_tokens < 0 || what.surplus_tokens < 0)
    throw std::invalid_argument("group_finished: baseline_tokens, surplus_tokens: want >= 0");
  const auto host = one->worker;
  take_off_worker(what.group, *one);
  count_tokens(*one, what.tokens, sum, what.surplus_tokens);
  ledger_.spend(drop_reason::baseline, what.baseline_tokens);
  if (what.tokens.empty() || config_.measure == stale_measure::born)
    one->age_from = one->born;
  else
    one->age_from = config_.measure == stale_measure::head ? what.tokens.oldest() : what.tokens.newest();
  if (config_.action == stale_action::withhold && !what.answers.empty() && what.answers.newest() <= step_)
    one->counted.assign(what.answers);
  else if (config_.action == stale_action::withhold && one->tokens > 0 && !one->counted.all().empty())
    one->counted.assign({{what.tokens.oldest(), one->tokens}});
  one->partial = false;
  set_state(*one, group_state::finished);
  if (config_.repack_below > 0)
    repack(host, workers_.at(host));
}

void scheduler::handle(const group_interrupted& what) {
  auto* one = current(what.group, what.attempt, {group_state::generating});
  if (!one)
    return;
  if (!one->interrupted) {
    ++ignored_;
    return;
  }
  const auto sum = checked_sum(what.tokens, "group_interrupted: tokens");
  const auto target = target_of(what.group);
  take_off_worker(what.group, *one);
  count_tokens(*one, what.tokens, sum);
  if (one->tokens == 0)
    return requeue(what.group, *one);
  one->partial = true;
  set_state(*one, group_state::queued);
  queued_.insert(what.group);
  if (target)
    if (const auto to = workers_.find(*target); to != workers_.end())
      place_on(what.group, to->first);
}

void scheduler::handle(const group_ready& what) {
  if (auto* one = current(what.group, what.attempt, {group_state::finished}))
    make_ready(what.group, *one);
}

void scheduler::handle(const group_flat& what) {
  auto* one = current(what.group, what.attempt, {group_state::finished});
  if (!one)
    return;
  if (flat_dropped_ >= config_.flat_groups_per_step)
    return make_ready(what.group, *one);
  ++flat_dropped_;
  losses_in_a_row_ = 0;
  drop_group(what.group, *one, drop_reason::zero_variance, "all its rewards are the same");
}

void scheduler::make_ready(group_id id, group& one) {
  set_state(one, group_state::ready);
  rule_.ready(id, one.born, one.age_from, one.tokens);
  losses_in_a_row_ = 0;
}

void scheduler::handle(const group_failed& what) {
  auto* one = current(what.group, what.attempt, {group_state::generating, group_state::finished, group_state::ready});
  if (!one)
    return;
  if (what.tokens < 0)
    throw std::invalid_argument("group_failed: tokens: want >= 0");
  if (one->state == group_state::generating) {
    take_off_worker(what.group, *one);
    ledger_.generate(group_state::generating, what.tokens);
    one->tokens += what.tokens;
  }
  if (what.retryable)
    retry(what.group, *one, what.why);
  else if (++misfortunes_[what.group].data_failures < config_.data_attempts)
    requeue(what.group, *one);
  else
    drop_group(what.group, *one, drop_reason::data, what.why);
}

void scheduler::handle(const group_overdue& what) {
  auto* one = current(what.group, what.attempt, {group_state::generating, group_state::finished});
  if (!one)
    return;
  const bool ran = one->state == group_state::generating;
  const auto name = ran ? workers_.at(one->worker).name : std::string();
  withdraw(what.group, *one);
  retry(what.group, *one, ran ? name + " did not finish it in time" : "its columns did not come in time");
}

std::vector<group_overdue> scheduler::overdue(double now_s) const {
  std::vector<group_overdue> found;
  if (config_.call_deadline_s > 0 && phase_ == phase::running)
    groups_.each([&](group_id id, const group& one) {
      if ((one.state == group_state::generating || one.state == group_state::finished) && now_s - one.since_s > config_.call_deadline_s)
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

void scheduler::handle(const group_lost& what) {
  auto* one = current(what.group, what.attempt, {group_state::queued, group_state::finished, group_state::ready});
  if (!one)
    return;
  if (is_queued_afresh(*one)) {
    ++ignored_;
    return;
  }
  retry(what.group, *one, "its tensors were lost");
}

void scheduler::leave_rule(group_id id, const group& one) {
  if (one.state == group_state::parked)
    return;
  if (is_queued_afresh(one))
    return rule_.leave_queued(id);
  const bool ready = one.state == group_state::ready;
  rule_.leave(id, ready ? one.age_from : one.born, ready);
}

void scheduler::requeue(group_id id, group& one) {
  if (one.state == group_state::parked) {
    parked_.erase(id);
    rule_.queue(id);
  } else if (!is_queued_afresh(one)) {
    const bool ready = one.state == group_state::ready;
    rule_.requeue(id, ready ? one.age_from : one.born, ready);
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
  const auto failures = ++misfortunes_[id].failures;
  if (failures < config_.attempts_per_group)
    return requeue(id, one);
  drop_group(id, one, drop_reason::attempts,
             std::to_string(failures) + (failures == 1 ? " attempt" : " attempts") + " lost, the last one because " + why);
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
  if (config_.lost == lost_group::fail)
    give_up(finish_reason::losses, why);
  else if (config_.consecutive_losses > 0 && losses_in_a_row_ >= config_.consecutive_losses)
    give_up(finish_reason::losses, std::to_string(losses_in_a_row_) + " groups in a row were lost, the last one " + why);
}

// -- the learner ------------------------------------------------------------------------------------

void scheduler::handle(const batch_trained& what) {
  if (!training_ || what.step != step_ || what.part != part_) {
    ++ignored_;
    return;
  }
  if (what.masked < 0 || what.tokens + what.masked != training_->tokens)
    ledger_.dispute("step " + std::to_string(what.step) + ": the learner trained " + std::to_string(what.tokens) +
                    (what.masked != 0 ? " and masked " + std::to_string(what.masked) : std::string()) +
                    " tokens, the groups of its batch have " + std::to_string(training_->tokens));
  if (what.masked < training_->too_old)
    ledger_.dispute("step " + std::to_string(what.step) + ": the learner masked " + std::to_string(what.masked) + " tokens, " +
                    std::to_string(training_->too_old) + " are older than the bound");
  const auto& used = training_->groups;
  for (std::size_t i = 0; i < used.size(); ++i) {
    groups_.prefetch(used[std::min(i + 8, used.size() - 1)]);
    const auto id = used[i];
    auto& one = groups_.at(id);
    const auto trained = training_->mask == training_mask::none ? one.counted.all() : one.counted.since(training_->train_from);
    if (training_->mask == training_mask::none || !trained.empty() || one.born >= training_->train_from)
      staleness_.add(step_, one.born, trained);
    ledger_.train(one.tokens);
    forget_group(id, one);
  }
  ledger_.mask(what.masked);
  const bool ends_step = training_->ends_step;
  training_.reset();
  learner_since_s_ = now_s_;
  if (ends_step)
    finish_step();
  else
    ++part_;
  if (!ends_step && config_.unit != lag_unit::step)
    offer_again();
}

/// After what moved the bound.
void scheduler::offer_again() {
  if (config_.bounded() && config_.action != stale_action::wait)
    for (auto& [id, one] : workers_)
      offer(id, one);
}

void scheduler::finish_step() {
  if (config_.reclaim_adapt)
    reclaim_at_ = adapted_reclaim(config_, reclaim_at_, rule_.ready());
  ++step_;
  part_ = 0;
  flat_dropped_ = 0;
  if (step_ % config_.publish_every == 0) {
    published_ = step_;
    for (const auto& [id, one] : workers_)
      outdated_.insert(outdated_.end(), id);
  }
  offer_again();
  if (config_.checkpoint_every > 0 && step_ % config_.checkpoint_every == 0)
    save_now();
}

void scheduler::handle(const training_lost& what) {
  if (!training_ || what.step != step_ || what.part != part_) {
    ++ignored_;
    return;
  }
  for (const auto id : training_->groups) {
    auto& one = groups_.at(id);
    set_state(one, group_state::ready);
    rule_.give_back(id, one.age_from, one.tokens);
  }
  rounds_cut_ = std::min(rounds_cut_, step_);
  training_.reset();
  learner_since_s_ = now_s_;
}

// -- the run ----------------------------------------------------------------------------------------

void scheduler::handle(const prompts_exhausted& what) {
  prompts_ = std::min(what.count, prompts_.value_or(what.count));
  for (const auto id : live_ids()) {
    auto& one = groups_.at(id);
    if (id < *prompts_ || one.state == group_state::training)
      continue;
    stop_generating(id, one);
    drop_group(id, one, drop_reason::unneeded, "there are only " + std::to_string(*prompts_) + " prompts");
  }
}

void scheduler::handle(const checkpointed& what) {
  if (checkpoint_asked_ && what.step <= *checkpoint_asked_ && (!checkpoint_saved_ || what.step > *checkpoint_saved_))
    checkpoint_saved_ = what.step;
  else
    ++ignored_;
}

void scheduler::handle(const stop_requested&) {
  if (phase_ != phase::running)
    ++ignored_;
  else
    give_up(finish_reason::stopped, {});
}

void scheduler::give_up(finish_reason reason, std::string why) {
  if (phase_ != phase::running)
    return;
  phase_ = phase::stopping;
  reason_ = reason;
  why_ = std::move(why);
}

} // namespace millrace::schedule
