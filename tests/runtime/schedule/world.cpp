#include "tests/runtime/schedule/world.hpp"

#include "runtime/schedule/event_text.hpp"
#include "tests/runtime/schedule/world_facts.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace millrace::schedule {

// -- what can happen --------------------------------------------------------------------------------------------------

world::group* world::of(group_id id, std::uint32_t attempt, where state) {
  const auto found = live_.find(id);
  return found != live_.end() && found->second.attempt == attempt && found->second.state == state ? &found->second
                                                                                                  : nullptr;
}

bool world::flips(const worker& one) const {
  return one.sent && (!one.holds || *one.sent > *one.holds) && (config_.in_flight() || one.running == 0);
}

version_counts world::sample(group_id id, const group& one, bool whole) const {
  auto tokens = one.tokens;
  const auto& host = workers_.at(one.worker);
  const auto newest = config_.in_flight() ? std::max(host.holds.value_or(0), host.sent.value_or(0)) : one.from;
  for (auto version = one.from; version <= newest; ++version)
    if (const auto word = splitmix64(splitmix64(id) ^ (std::uint64_t{one.attempt} << 32 | version));
        word % 5 != 0 && (whole || word % 3 != 0))
      tokens[version] += static_cast<std::int64_t>(1 + word % 50);
  version_counts counts;
  for (const auto& [version, count] : tokens)
    counts.add(version, count);
  return counts;
}

version_id world::published() const {
  return std::max({first_version_, newest_sent_, steps_ / config_.clock.publish_every * config_.clock.publish_every});
}

bool world::can(worker_joined& e) {
  if (e.capacity_groups < 1 || (e.holds && *e.holds > published()))
    return false;
  if (workers_.contains(e.worker))
    abandon(e.worker);
  workers_[e.worker] = {e.capacity_groups, e.holds, std::nullopt, 0, e.lent, false, false, true};
  next_worker_ = std::max(next_worker_, e.worker + 1);
  return true;
}

bool world::can(worker_lost& e) {
  if (workers_.contains(e.worker))
    abandon(e.worker);
  return true;
}

bool world::can(version_acknowledged& e) {
  const auto found = workers_.find(e.worker);
  if (found == workers_.end() || !flips(found->second))
    return false;
  e.version = *found->second.sent;
  found->second.holds = e.version;
  found->second.in_turn = found->second.late = false;
  return true;
}

bool world::can(weights_overdue& e) {
  const auto found = workers_.find(e.worker);
  if (found == workers_.end() || found->second.late || !found->second.sent
      || (found->second.holds && *found->second.sent <= *found->second.holds))
    return false;
  e.version = *found->second.sent;
  found->second.in_turn = found->second.sent_again = false;
  return found->second.late = true;
}

bool world::can(group_finished& e) {
  auto* one = of(e.group, e.attempt, where::generating);
  if (!one)
    return false;
  e.tokens = sample(e.group, *one, true);
  if (config_.tail.oversample_attempts > 1) {
    const auto all = std::exchange(e.tokens, {});
    for (const auto part : all)
      e.tokens.add(part.version, part.tokens - part.tokens / static_cast<std::int64_t>(2 + splitmix64(e.group) % 3));
    e.surplus_tokens = all.sum() - e.tokens.sum();
    surplus_ += e.surplus_tokens;
  }
  one->tokens.clear();
  for (const auto part : e.tokens)
    one->tokens[part.version] = part.tokens;
  e.answers = by_answer(one->tokens);
  off(*one, where::finished);
  return true;
}

bool world::can(group_interrupted& e) {
  auto* one = of(e.group, e.attempt, where::generating);
  if (!one || !one->interrupted)
    return false;
  e.tokens = sample(e.group, *one, false);
  one->tokens.clear();
  for (const auto part : e.tokens)
    one->tokens[part.version] = part.tokens;
  off(*one, where::queued);
  one->partial = sum(one->tokens) > 0;
  return true;
}

bool world::can(group_ready& e) {
  auto* one = of(e.group, e.attempt, where::finished);
  if (!one || (poison(e.group) && harsh))
    return false;
  one->state = where::ready;
  return true;
}

bool world::can(group_flat& e) {
  auto* one = of(e.group, e.attempt, where::finished);
  if (!one)
    return false;
  if (flat_++ >= config_.flat_groups_per_step)
    one->state = where::ready;
  return true;
}

bool world::can(group_failed& e) {
  const auto found = live_.find(e.group);
  if (found == live_.end() || found->second.attempt != e.attempt || found->second.state == where::training
      || found->second.state == where::queued)
    return false;
  if (found->second.state != where::generating)
    e.tokens = 0;
  off(found->second, where::queued);
  forget(found->second);
  return true;
}

bool world::can(group_overdue& e) {
  const auto found = live_.find(e.group);
  // The scheduler takes it off its worker itself.
  return found != live_.end() && found->second.attempt == e.attempt
         && (found->second.state == where::generating || found->second.state == where::finished);
}

bool world::can(group_lost& e) {
  const auto found = live_.find(e.group);
  if (found == live_.end() || found->second.attempt != e.attempt)
    return false;
  auto& one = found->second;
  if (one.state != where::finished && one.state != where::ready && !(one.state == where::queued && one.partial))
    return false;
  one.state = where::queued;
  forget(one);
  return true;
}

bool world::can(batch_trained& e) {
  if (!training_)
    return false;
  e.step = training_->step;
  e.part = training_->part;
  e.tokens = e.masked = 0;
  for (const auto id : training_->groups) {
    const auto trained = trained_tokens(live_.at(id), *training_);
    e.tokens += trained;
    e.masked += sum(live_.at(id).tokens) - trained;
    require(trained_.insert(id).second, "group " + std::to_string(id) + " was trained twice");
    live_.erase(id);
  }
  if (config_.place.reclaim_adapt && training_->ends_step) {
    const auto least = 1.0 / config_.groups_per_step;
    reclaim_at_ = std::max(reclaim_at_, least);
    reclaim_at_ += ((in(where::ready).size() < config_.groups_per_step ? 1 : least) - reclaim_at_) / 8;
  }
  part_ = training_->ends_step ? 0 : part_ + 1;
  steps_ += training_->ends_step;
  flat_ = training_->ends_step ? 0 : flat_;
  training_.reset();
  return true;
}

bool world::can(training_lost& e) {
  if (!training_)
    return false;
  e.step = training_->step;
  e.part = training_->part;
  for (const auto id : training_->groups)
    live_.at(id).state = where::ready;
  training_.reset();
  return true;
}

bool world::can(prompts_exhausted& e) {
  if (!prompts || prompts_told_)
    return false;
  e.count = *prompts;
  return prompts_told_ = true;
}

bool world::can(checkpointed& e) {
  if (saving_.empty())
    return false;
  e.step = saving_.front();
  saving_.erase(saving_.begin());
  return true;
}

bool world::can(stop_requested&) {
  return !std::exchange(stopping_, true);
}

// -- what happens -----------------------------------------------------------------------------------------------------

bool world::play(const move& line) {
  if (finished_)
    return false;
  if (line == "restart") {
    if (stopping_)
      return false;
    restart();
    return true;
  }
  auto what = read_event(line);
  if (!std::visit([this](auto& e) { return can(e); }, what))
    return false;
  feed(what);
  return true;
}

void world::feed(const event& what) {
  ++events_;
  const auto generating = in(where::generating).size();
  const auto actions = scheduler_.on(what, static_cast<double>(events_));
  if (scheduler_.at().version > version_)
    generating_then_ = generating;
  for (const auto& one : actions) {
    require(!finished_, "an action after finish");
    std::visit([this](const auto& wanted) { carry_out(wanted); }, one);
  }
  check_books();
}

void world::check_books() {
  if (const auto wrong = scheduler_.audit(); !wrong.empty())
    throw std::runtime_error("audit: " + wrong);
  const auto now = scheduler_.at();
  require(now.version >= version_, "v went back");
  version_ = now.version;
  require(now.consumed == trained_.size(), "trained groups are miscounted");
  require(now.step == steps_ && now.part == part_, "steps are miscounted");
  require(static_cast<std::size_t>(now.queued + now.parked + now.generating + now.finished + now.ready + now.training)
              == live_.size(),
          "live groups are miscounted");
  require(static_cast<std::size_t>(scheduler_.books().dropped().groups) == dropped_.size(), "drops are miscounted");
  require(static_cast<std::size_t>(now.generating) == in(where::generating).size(), "generating groups are miscounted");
  require(static_cast<std::size_t>(now.ready) == in(where::ready).size(), "ready groups are miscounted");
  require(config_.tail.stop == tail_stop::first_k
              || scheduler_.books().dropped(drop_reason::surplus).tokens == surplus_,
          "surplus tokens are miscounted");
  check_version(now.version);
  if (events_ % 16 == 0 && !finished_ && !stopping_)
    require(!scheduler_.waits(static_cast<double>(events_)).empty() || now.generating > 0,
            "nobody waits and nothing runs");
}

/// S-8: v is the oldest version of a worker that is in time, of those that are not behind v.
void world::check_version(version_id version) const {
  std::optional<version_id> oldest;
  for (const auto& [id, one] : workers_)
    if (!one.late && one.holds && *one.holds >= version)
      oldest = std::min(*one.holds, oldest.value_or(*one.holds));
  require(!oldest || oldest == version || config_.publish.pattern == publish_pattern::pull,
          "v is " + std::to_string(version) + " though every worker that is in time runs "
              + std::to_string(oldest.value_or(0)));
}

void world::restart() {
  ++events_;
  const auto state = scheduler_.save();
  scheduler_ = scheduler::restore(config_, state);
  require(scheduler_.save() == state, "what was restored is saved differently");
  flat_ = 0;
  version_ = first_version_ = scheduler_.at().version;
  generating_then_ = 0;
  newest_sent_ = 0;
  workers_.clear();
  training_.reset();
  saving_.clear();
  for (auto& [id, one] : live_) {
    one.state = where::queued;
    one.interrupted = false;
    forget(one);
  }
  worker_joined first{next_worker_, 3, std::nullopt, "rollout/" + std::to_string(next_worker_), false};
  can(first);
  feed(first);
}

void world::forget(group& one) {
  one.partial = false;
  one.tokens.clear();
}

void world::off(group& one, where to) {
  if (one.state == where::generating)
    if (const auto host = workers_.find(one.worker); host != workers_.end())
      --host->second.running;
  one.state = to;
  one.interrupted = false;
}

void world::abandon(worker_id id) {
  for (auto& [group_number, one] : live_)
    if (one.state == where::generating && one.worker == id) {
      off(one, where::queued);
      forget(one);
    }
  workers_.erase(id);
}

std::int64_t world::trained_tokens(const group& one, const cut& batch) const {
  if (batch.mask == age_mask::none)
    return sum(one.tokens);
  std::int64_t tokens = 0;
  if (batch.mask == age_mask::tokens)
    for (const auto& [version, count] : one.tokens)
      tokens += version >= batch.train_from ? count : 0;
  else
    for (const auto& part : by_answer(one.tokens))
      tokens += part.version >= batch.train_from ? part.tokens : 0;
  return tokens;
}

// -- by chance --------------------------------------------------------------------------------------------------------

namespace {

bool chance(std::mt19937_64& random, double p) {
  return static_cast<double>(random() >> 11) * 0x1p-53 < p;
}

group_id any(std::mt19937_64& random, const std::vector<group_id>& ids) {
  return ids[random() % ids.size()];
}

} // namespace

std::vector<group_id> world::in(where state) const {
  std::vector<group_id> result;
  for (const auto& [id, one] : live_)
    if (one.state == state)
      result.push_back(id);
  return result;
}

std::optional<world::move> world::propose(std::mt19937_64& random) {
  if (!stopping_ && events_ >= stop_after)
    return event_text(stop_requested{});
  if (prompts && !prompts_told_ && (next_ > *prompts || chance(random, 0.02)))
    return event_text(prompts_exhausted{*prompts});
  if (chance(random, 0.01))
    return event_text(checkpoint_wanted{});
  if (config_.publish.deadline_s > 0 && chance(random, 0.1))
    if (const auto late = scheduler_.late_weights(static_cast<double>(events_)); !late.empty())
      return event_text(late[random() % late.size()]);
  if (workers_.empty() || (workers_.size() < 4 && chance(random, 0.01)))
    return propose_worker(random);
  if (harsh && chance(random, 0.03))
    if (auto mishap = propose_mishap(random))
      return mishap;
  return propose_progress(random);
}

world::move world::propose_worker(std::mt19937_64& random) {
  const auto id = chance(random, 0.1) && !workers_.empty() ? workers_.begin()->first : next_worker_;
  worker_joined e{id, static_cast<std::uint32_t>(1 + random() % 6), std::nullopt, "rollout/" + std::to_string(id),
                  chance(random, 0.5)};
  if (chance(random, 0.5) || steps_ == 0)
    e.holds = static_cast<version_id>(random() % (published() + 1));
  return event_text(e);
}

std::optional<world::move> world::propose_mishap(std::mt19937_64& random) {
  const auto generating = in(where::generating), finished = in(where::finished), ready = in(where::ready);
  switch (random() % 7) {
  case 5:
    if (const auto late = scheduler_.overdue(static_cast<double>(events_)); !late.empty())
      return event_text(late[random() % late.size()]);
    break;
  case 0:
    return event_text(worker_lost{static_cast<worker_id>(random() % (next_worker_ + 1))});
  case 1:
    if (!generating.empty()) {
      const auto id = any(random, generating);
      return event_text(
          group_failed{id, attempt_of(id), chance(random, 0.7), static_cast<std::int64_t>(random() % 9), "by chance"});
    }
    break;
  case 2:
    if (!ready.empty() || !finished.empty()) {
      const auto id = any(random, ready.empty() ? finished : ready);
      return event_text(group_lost{id, attempt_of(id)});
    }
    break;
  case 3:
    if (training_)
      return event_text(training_lost{training_->step, training_->part});
    break;
  case 4:
    if (const auto queued = in(where::queued); !queued.empty() && live_.at(queued.front()).partial)
      return event_text(group_lost{queued.front(), attempt_of(queued.front())});
    break;
  default:
    if (chance(random, 0.3) && !stopping_)
      return "restart";
  }
  return std::nullopt;
}

std::optional<world::move> world::propose_progress(std::mt19937_64& random) {
  const auto generating = in(where::generating), finished = in(where::finished);
  switch (random() % 6) {
  case 0:
  case 1:
    if (!generating.empty()) {
      const auto id = any(random, generating);
      if (live_.at(id).interrupted && chance(random, 0.8))
        return event_text(group_interrupted{id, attempt_of(id), {}});
      if (!slow(id) || chance(random, 0.1) || generating.size() == 1)
        return event_text(group_finished{id, attempt_of(id), {}, 0, {}});
    }
    break;
  case 2:
    if (!finished.empty()) {
      const auto id = any(random, finished);
      if (harsh && poison(id))
        return event_text(group_failed{id, attempt_of(id), false, 0, "poison"});
      if (chance(random, 0.1))
        return event_text(group_flat{id, attempt_of(id)});
      return event_text(group_ready{id, attempt_of(id)});
    }
    break;
  case 3:
    if (training_ && chance(random, 0.5))
      return event_text(batch_trained{training_->step, 0, 0, training_->part});
    break;
  case 4: {
    std::vector<group_id> able;
    for (const auto& [id, one] : workers_)
      if (flips(one))
        able.push_back(id);
    if (!able.empty())
      return event_text(version_acknowledged{static_cast<worker_id>(any(random, able)), 0});
    break;
  }
  default:
    if (!saving_.empty())
      return event_text(checkpointed{saving_.front()});
  }
  return std::nullopt;
}

void world::check_alive() const {
  if (finished_ || workers_.empty() || training_ || !saving_.empty())
    return;
  for (const auto& [id, one] : live_)
    if (one.state == where::generating || one.state == where::finished)
      return;
  for (const auto& [id, one] : workers_)
    if (flips(one))
      return;
  require(stopping_, "nothing is under way, though " + std::to_string(workers_.size()) + " workers wait");
}

void world::check_end() const {
  for (group_id id = 0; id < next_; ++id)
    require(trained_.contains(id) + dropped_.contains(id) + live_.contains(id) == 1,
            "group " + std::to_string(id) + " is not in one place");
  require(reason_ == finish_reason::stopped || reason_ == finish_reason::losses || live_.empty(),
          "finished with live groups");
  require(reason_ != finish_reason::steps_done || steps_ == config_.steps, "finished too early");
  require(reason_ != finish_reason::prompts_exhausted || (prompts_told_ && next_ >= *prompts), "prompts were left");
  require(reason_ != finish_reason::losses || config_.faults.lost_group != lost_group::replace
              || config_.faults.consecutive_losses > 0,
          "ended for losses that are allowed");
  require(scheduler_.waits(static_cast<double>(events_)).empty(), "waits after the end");
}

} // namespace millrace::schedule
