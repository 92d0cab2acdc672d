#include "tests/runtime/schedule/world.hpp"

#include "runtime/schedule/event_text.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace millrace::schedule {

namespace {

void require(bool holds, const std::string& sentence) {
  if (!holds)
    throw std::runtime_error(sentence);
}

/// splitmix64's finalizer: token counts that depend on what they are of, not on when they are asked for.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::int64_t sum(const std::map<version_id, std::int64_t>& tokens) {
  std::int64_t all = 0;
  for (const auto& [version, count] : tokens)
    all += count;
  return all;
}

/// Half of the prompts' answers take long, every 23rd prompt cannot be answered.
bool slow(group_id id) { return mix(id) % 5 == 0; }
bool poison(group_id id) { return mix(id + 7) % 23 == 0; }

/// Tokens of whole answers by their oldest version: two thirds have a token of the oldest, the others only of the newest.
version_counts by_answer(const std::map<version_id, std::int64_t>& tokens) {
  if (tokens.empty())
    return {};
  const auto all = sum(tokens);
  if (tokens.size() == 1)
    return {{tokens.begin()->first, all}};
  return {{tokens.begin()->first, all - all / 3}, {tokens.rbegin()->first, all / 3}};
}

} // namespace

// -- what can happen --------------------------------------------------------------------------------

world::group* world::of(group_id id, std::uint32_t attempt, where state) {
  const auto found = live_.find(id);
  return found != live_.end() && found->second.attempt == attempt && found->second.state == state ? &found->second : nullptr;
}

bool world::flips(const worker& one) const {
  return one.sent && (!one.holds || *one.sent > *one.holds) && (config_.in_flight() || one.running == 0);
}

version_counts world::sample(group_id id, const group& one, bool whole) const {
  auto tokens = one.tokens;
  const auto& host = workers_.at(one.worker);
  const auto newest = config_.in_flight() ? std::max(host.holds.value_or(0), host.sent.value_or(0)) : one.from;
  for (auto version = one.from; version <= newest; ++version)
    if (const auto word = mix(mix(id) ^ (std::uint64_t{one.attempt} << 32 | version)); word % 5 != 0 && (whole || word % 3 != 0))
      tokens[version] += static_cast<std::int64_t>(1 + word % 50);
  version_counts counts;
  for (const auto& [version, count] : tokens)
    counts.add(version, count);
  return counts;
}

version_id world::published() const {
  return std::max({first_version_, newest_sent_, steps_ / config_.publish_every * config_.publish_every});
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
  if (found == workers_.end() || found->second.late || !found->second.sent || (found->second.holds && *found->second.sent <= *found->second.holds))
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
  if (config_.oversample_attempts > 1) {
    const auto all = std::exchange(e.tokens, {});
    for (const auto part : all)
      e.tokens.add(part.version, part.tokens - part.tokens / static_cast<std::int64_t>(2 + mix(e.group) % 3));
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
  if (found == live_.end() || found->second.attempt != e.attempt || found->second.state == where::training || found->second.state == where::queued)
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
  return found != live_.end() && found->second.attempt == e.attempt && (found->second.state == where::generating || found->second.state == where::finished);
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
  if (config_.reclaim_adapt && training_->ends_step) {
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

// -- what happens -----------------------------------------------------------------------------------

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
  require(static_cast<std::size_t>(now.queued + now.parked + now.generating + now.finished + now.ready + now.training) == live_.size(),
          "live groups are miscounted");
  require(static_cast<std::size_t>(scheduler_.books().dropped().groups) == dropped_.size(), "drops are miscounted");
  require(static_cast<std::size_t>(now.generating) == in(where::generating).size(), "generating groups are miscounted");
  require(static_cast<std::size_t>(now.ready) == in(where::ready).size(), "ready groups are miscounted");
  require(config_.stop == tail_stop::first_k || scheduler_.books().dropped(drop_reason::surplus).tokens == surplus_, "surplus tokens are miscounted");
  check_version(now.version);
  if (events_ % 16 == 0 && !finished_ && !stopping_)
    require(!scheduler_.waits().empty() || now.generating > 0, "nobody waits and nothing runs");
}

/// S-8: v is the oldest version of a worker that is in time, of those that are not behind v.
void world::check_version(version_id version) const {
  std::optional<version_id> oldest;
  for (const auto& [id, one] : workers_)
    if (!one.late && one.holds && *one.holds >= version)
      oldest = std::min(*one.holds, oldest.value_or(*one.holds));
  require(!oldest || oldest == version || config_.pattern == publish_pattern::pull, "v is " + std::to_string(version) + " though every worker that is in time runs " +
                                                                                       std::to_string(oldest.value_or(0)));
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
  if (batch.mask == training_mask::none)
    return sum(one.tokens);
  std::int64_t tokens = 0;
  if (batch.mask == training_mask::tokens)
    for (const auto& [version, count] : one.tokens)
      tokens += version >= batch.train_from ? count : 0;
  else
    for (const auto& part : by_answer(one.tokens))
      tokens += part.version >= batch.train_from ? part.tokens : 0;
  return tokens;
}

// -- what the scheduler wants -----------------------------------------------------------------------

std::uint64_t world::committed() const {
  if (config_.tokens_per_step > 0)
    return std::uint64_t{steps_} * config_.groups_per_step + live_.size() - static_cast<std::uint64_t>(scheduler_.at().parked);
  return trained_.size() + live_.size() - static_cast<std::uint64_t>(scheduler_.at().parked) + (config_.lost == lost_group::shrink ? lost_ : 0);
}

/// S-1, in millionths of a group, squared.
bool world::within_limit() const {
  __extension__ typedef __int128 wide;
  const auto parts = [&](double value) { return static_cast<std::int64_t>(std::llround(std::min(value, 1e4) * 1e6)); };
  const std::int64_t v = scheduler_.at().version, one = 1'000'000;
  auto lead = one + parts(config_.depth);
  if (config_.warmup > 0)
    lead = std::max(lead, (first_version_ + 1 - v) * one + parts(config_.depth) + parts(config_.warmup));
  lead = std::min(lead, (config_.steps - v) * one);
  const std::int64_t uncut = v * one + lead - (std::int64_t{steps_} + (training_ && training_->ends_step)) * one;
  const auto limit = wide{config_.groups_per_step} * ((v * one + lead) * one + (parts(config_.oversample) - one) * std::max<std::int64_t>(0, uncut));
  return wide{committed()} * one * one < limit;
}

/// How far the update lies behind the version, in the unit of the bound.
std::uint64_t world::lag(version_id version, const cut& batch) const {
  if (version > batch.step)
    return 0;
  std::uint64_t behind = batch.step - version;
  if (config_.unit == lag_unit::update)
    behind = behind * config_.minibatches + batch.part;
  if (config_.unit == lag_unit::group)
    behind = behind * config_.groups_per_step + std::uint64_t{batch.part} * config_.groups_per_step / config_.minibatches;
  return behind;
}

version_id world::age_from(const group& one) const {
  if (config_.measure == stale_measure::born || one.tokens.empty())
    return one.born;
  return config_.measure == stale_measure::head ? one.tokens.begin()->first : one.tokens.rbegin()->first;
}

void world::carry_out(const admit& what) {
  require(!stopping_, "started a group after the stop");
  const auto host = workers_.find(what.worker);
  require(host != workers_.end(), "started a group on a worker that is gone");
  require(++host->second.running <= host->second.capacity, "overfilled a worker");
  require(host->second.holds == what.born, "born is not what the worker runs");
  require(config_.pattern == publish_pattern::pull || what.born >= scheduler_.at().version, "started a group on a worker behind v");
  require(config_.in_flight() || !host->second.sent || *host->second.sent <= what.born, "started a group on a draining worker");
  require(config_.place != place_mode::timeshare || !training_, "generates while it trains");
  require(!host->second.lent || config_.place != place_mode::lend || !training_ ||
              static_cast<double>(in(where::ready).size()) < reclaim_at_ * config_.groups_per_step,
          "a lent worker starts a group though the learner has taken its hardware back");
  for (const auto& [id, other] : workers_)
    require(!host->second.late || other.late || other.holds.value_or(0) <= what.born, "started a group on a worker that is left out");
  if (what.group == next_) {
    ++next_;
    // The actions of one event come at once: those behind this one are counted in what the scheduler says it has.
    require(within_limit(), "started a group beyond the gate");
    require(!prompts_told_ || what.group < *prompts, "started a prompt that does not exist");
    require(!what.resume, "a new group goes on");
  } else {
    require(live_.contains(what.group) && live_.at(what.group).state == where::queued, "started a group that was not queued");
    require(what.attempt > live_.at(what.group).attempt, "used an attempt twice");
    require(what.resume == live_.at(what.group).partial, "lost what a group had, or made it up");
  }
  auto& one = live_[what.group];
  one.state = where::generating;
  one.attempt = what.attempt;
  one.worker = what.worker;
  one.from = what.born;
  one.partial = false;
  if (!what.resume) {
    one.born = what.born;
    one.tokens.clear();
  }
  one.born = std::min(one.born, what.born);
  require(std::isinf(config_.burst) || in(where::generating).size() <=
              generating_then_ + std::max<std::size_t>(1, static_cast<std::size_t>(std::floor(config_.burst * config_.groups_per_step + 1e-9))),
          "generation grows too fast");
  require(config_.max_inflight == 0 || in(where::generating).size() <= config_.max_inflight, "too many groups generate");
}

void world::carry_out(const cancel& what) {
  const auto found = live_.find(what.group);
  require(found != live_.end() && found->second.attempt == what.attempt, "cancelled a group that is gone");
  require(found->second.state != where::training, "cancelled a group in training");
  off(found->second, where::queued);
  forget(found->second);
}

void world::carry_out(const interrupt& what) {
  auto* one = of(what.group, what.attempt, where::generating);
  require(one && !one->interrupted, "asked for what a group has that does not generate, or twice");
  one->interrupted = true;
}

void world::carry_out(const cut& what) {
  require(!training_ && !stopping_, "cut a batch beside another one or after the stop");
  require(what.step == steps_ && what.part == part_, "cut another update than the next");
  require(std::is_sorted(what.groups.begin(), what.groups.end()) && !what.groups.empty(), "batch not ascending or empty");
  const auto size = config_.part_begin(what.part + 1) - config_.part_begin(what.part);
  const bool last = prompts_told_ && next_ >= *prompts && what.groups.size() == live_.size();
  std::int64_t tokens = 0, most = 0;
  std::size_t fresh = 0;
  for (const auto id : what.groups) {
    const auto count = sum(live_.at(id).tokens);
    tokens += count;
    most = std::max(most, count);
    fresh += age_from(live_.at(id)) == what.step;
  }
  const bool enough = config_.tokens_per_step > 0 && tokens >= config_.tokens_per_step;
  require(what.groups.size() == size || (what.groups.size() < size && (last || enough || config_.lost == lost_group::shrink)), "batch of a wrong size");
  require(config_.tokens_per_step == 0 || tokens - most < config_.tokens_per_step, "a group more than its tokens ask for");
  if (static_cast<double>(fresh) < config_.on_policy_min * static_cast<double>(size)) {
    // Only if no other group of the step's version is there or can come.
    const bool more = static_cast<double>(committed()) < config_.groups_per_step * (config_.steps - 1 + config_.oversample) - 1e-9;
    require(!more || (prompts_told_ && next_ >= *prompts), "fewer fresh groups than wanted, and more could start");
    // Under timeshare those that made room for the learner just now stand in the queue.
    require(config_.place == place_mode::timeshare || in(where::queued).empty(), "fewer fresh groups than wanted, and some are to be generated again");
    for (const auto& [id, one] : live_)
      if (!std::binary_search(what.groups.begin(), what.groups.end(), id) && one.state != where::parked && one.state != where::training)
        require((one.state == where::ready ? age_from(one) : one.born) != what.step, "fewer fresh groups than wanted, and one is under way");
  }
  require(what.ends_step == (last || what.part + 1 == config_.minibatches), "a step ends too early or late");
  require(config_.place != place_mode::timeshare || in(where::generating).empty(), "trains while it generates");
  for (const auto id : what.groups) {
    auto& one = live_.at(id);
    require(one.state == where::ready, "trained a group that was not ready");
    require(!never_train.contains(id), "trained group " + std::to_string(id));
    one.state = where::training;
    const bool whole = config_.action == stale_action::wait || config_.action == stale_action::drop || config_.action == stale_action::requeue;
    require(!whole || lag(age_from(one), what) <= config_.stale_max, "group " + std::to_string(id) + " is older than the bound");
  }
  const bool masks = config_.action == stale_action::withhold || config_.action == stale_action::mask_tokens;
  require(masks == (what.mask != training_mask::none), "a mask where none is wanted, or none");
  if (masks)
    for (version_id version = 0; version <= what.step; ++version)
      require((version >= what.train_from) == (lag(version, what) <= config_.stale_max), "masks from another version than the bound's");
  if (config_.select == select_order::in_order)
    for (const auto& [id, one] : live_)
      require(id > what.groups.back() || one.state == where::training, "a lower id was passed over");
  training_ = what;
}

void world::carry_out(const publish& what) {
  require(what.version <= steps_ && what.version + config_.publish_every > steps_ && what.version < config_.steps, "published a wrong version");
  newest_sent_ = what.version;
  std::uint32_t flipping = 0;
  for (const auto id : what.workers) {
    auto& one = workers_.at(id);
    require(!one.sent || *one.sent < what.version || (*one.sent == what.version && !std::exchange(one.sent_again, true)), "published twice");
    require(!one.holds || *one.holds < what.version || *one.holds > steps_, "published what a worker runs");
    require(config_.pattern != publish_pattern::pull || one.running == 0, "a worker was sent weights while it generates");
    one.in_turn = one.in_turn || !one.sent || (one.holds && *one.sent <= *one.holds);
    one.sent = what.version;
  }
  for (const auto& [id, one] : workers_)
    flipping += one.in_turn;
  require(config_.pattern != publish_pattern::rolling || flipping <= config_.rolling_width, "too many workers take weights at once");
  if (config_.check == stale_check::publish)
    for (const auto& [id, one] : live_)
      require(one.state != where::generating || one.interrupted || lag(one.born, {what.version, {}, part_, false, {}, 0}) <= config_.stale_max,
              "published while a group generates that is too old already");
}

void world::carry_out(const drop& what) {
  const auto found = live_.find(what.group);
  require(found != live_.end(), "dropped a group that is not live");
  off(found->second, where::queued);
  live_.erase(found);
  require(dropped_.insert(what.group).second, "dropped a group twice");
  require(what.reason != drop_reason::zero_variance || flat_ <= config_.flat_groups_per_step, "replaced more groups than a step may");
  lost_ += what.reason == drop_reason::data || what.reason == drop_reason::attempts;
}

void world::carry_out(const checkpoint& what) {
  // Where prompts ended under a step's updates, the step ends without its last one.
  if (what.step == steps_ + 1 && part_ > 0 && live_.empty())
    steps_ = what.step, part_ = 0;
  require(what.step == steps_, "checkpoint of another step");
  saving_.push_back(what.step);
}

void world::carry_out(const finish& what) {
  finished_ = true;
  reason_ = what.reason;
}

// -- by chance --------------------------------------------------------------------------------------

std::vector<group_id> world::in(where state) const {
  std::vector<group_id> result;
  for (const auto& [id, one] : live_)
    if (one.state == state)
      result.push_back(id);
  return result;
}

std::optional<world::move> world::propose(std::mt19937_64& random) {
  const auto chance = [&](double p) { return static_cast<double>(random() >> 11) * 0x1p-53 < p; };
  const auto any = [&](const std::vector<group_id>& ids) { return ids[random() % ids.size()]; };
  const auto attempt = [&](group_id id) { return live_.at(id).attempt; };
  const auto joins = [&](worker_id id) -> event {
    worker_joined e{id, static_cast<std::uint32_t>(1 + random() % 6), std::nullopt, "rollout/" + std::to_string(id), chance(0.5)};
    if (chance(0.5) || steps_ == 0)
      e.holds = static_cast<version_id>(random() % (published() + 1));
    return e;
  };
  if (!stopping_ && events_ >= stop_after)
    return event_text(stop_requested{});
  if (prompts && !prompts_told_ && (next_ > *prompts || chance(0.02)))
    return event_text(prompts_exhausted{*prompts});
  if (config_.publish_deadline_s > 0 && chance(0.1))
    if (const auto late = scheduler_.late_weights(static_cast<double>(events_)); !late.empty())
      return event_text(late[random() % late.size()]);
  if (workers_.empty() || (workers_.size() < 4 && chance(0.01)))
    return event_text(joins(chance(0.1) && !workers_.empty() ? workers_.begin()->first : next_worker_));
  const auto generating = in(where::generating);
  const auto finished = in(where::finished);
  if (harsh && chance(0.03)) {
    const auto ready = in(where::ready);
    switch (random() % 7) {
      case 5: {
        const auto late = scheduler_.overdue(static_cast<double>(events_));
        if (!late.empty())
          return event_text(late[random() % late.size()]);
        break;
      }
      case 0: return event_text(worker_lost{static_cast<worker_id>(random() % (next_worker_ + 1))});
      case 1:
        if (!generating.empty()) {
          const auto id = any(generating);
          return event_text(group_failed{id, attempt(id), chance(0.7), static_cast<std::int64_t>(random() % 9), "by chance"});
        }
        break;
      case 2:
        if (!ready.empty() || !finished.empty()) {
          const auto id = any(ready.empty() ? finished : ready);
          return event_text(group_lost{id, attempt(id)});
        }
        break;
      case 3:
        if (training_)
          return event_text(training_lost{training_->step, training_->part});
        break;
      case 4:
        if (const auto queued = in(where::queued); !queued.empty() && live_.at(queued.front()).partial)
          return event_text(group_lost{queued.front(), attempt(queued.front())});
        break;
      default:
        if (chance(0.3) && !stopping_)
          return "restart";
    }
  }
  switch (random() % 6) {
    case 0:
    case 1:
      if (!generating.empty()) {
        const auto id = any(generating);
        if (live_.at(id).interrupted && chance(0.8))
          return event_text(group_interrupted{id, attempt(id), {}});
        if (!slow(id) || chance(0.1) || generating.size() == 1)
          return event_text(group_finished{id, attempt(id), {}, 0, {}});
      }
      break;
    case 2:
      if (!finished.empty()) {
        const auto id = any(finished);
        if (harsh && poison(id))
          return event_text(group_failed{id, attempt(id), false, 0, "poison"});
        if (chance(0.1))
          return event_text(group_flat{id, attempt(id)});
        return event_text(group_ready{id, attempt(id)});
      }
      break;
    case 3:
      if (training_ && chance(0.5))
        return event_text(batch_trained{training_->step, 0, 0, training_->part});
      break;
    case 4: {
      std::vector<group_id> able;
      for (const auto& [id, one] : workers_)
        if (flips(one))
          able.push_back(id);
      if (!able.empty())
        return event_text(version_acknowledged{static_cast<worker_id>(any(able)), 0});
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
    require(trained_.contains(id) + dropped_.contains(id) + live_.contains(id) == 1, "group " + std::to_string(id) + " is not in one place");
  require(reason_ == finish_reason::stopped || reason_ == finish_reason::losses || live_.empty(), "finished with live groups");
  require(reason_ != finish_reason::steps_done || steps_ == config_.steps, "finished too early");
  require(reason_ != finish_reason::prompts_exhausted || (prompts_told_ && next_ >= *prompts), "prompts were left");
  require(reason_ != finish_reason::losses || config_.lost != lost_group::replace || config_.consecutive_losses > 0, "ended for losses that are allowed");
  require(scheduler_.waits().empty(), "waits after the end");
}

} // namespace millrace::schedule
