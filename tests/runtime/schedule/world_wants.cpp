#include "tests/runtime/schedule/world.hpp"
#include "tests/runtime/schedule/world_facts.hpp"

#include <algorithm>
#include <cmath>
#include <set>

/// What the world demands of each action.
namespace millrace::schedule {

std::uint64_t world::committed() const {
  if (config_.select.tokens_per_step > 0)
    return std::uint64_t{steps_} * config_.groups_per_step + live_.size()
           - static_cast<std::uint64_t>(scheduler_.at().parked);
  return trained_.size() + live_.size() - static_cast<std::uint64_t>(scheduler_.at().parked)
         + (config_.faults.lost_group == lost_group::shrink ? lost_ : 0);
}

/// S-1, in millionths of a group, squared.
bool world::within_limit() const {
  __extension__ typedef __int128 wide;
  const auto parts = [&](double value) { return static_cast<std::int64_t>(std::llround(std::min(value, 1e4) * 1e6)); };
  const std::int64_t v = scheduler_.at().version, one = 1'000'000;
  auto lead = one + parts(config_.gate.depth);
  if (config_.gate.warmup > 0)
    lead = std::max(lead, (first_version_ + 1 - v) * one + parts(config_.gate.depth) + parts(config_.gate.warmup));
  lead = std::min(lead, (config_.steps - v) * one);
  const std::int64_t uncut = v * one + lead - (std::int64_t{steps_} + (training_ && training_->ends_step)) * one;
  const auto limit =
      wide{config_.groups_per_step}
      * ((v * one + lead) * one + (parts(config_.tail.oversample_prompts) - one) * std::max<std::int64_t>(0, uncut));
  return wide{committed()} * one * one < limit;
}

/// How far the update lies behind the version, in the unit of the bound.
std::uint64_t world::lag(version_id version, const cut& batch) const {
  if (version > batch.step)
    return 0;
  std::uint64_t behind = batch.step - version;
  if (config_.clock.unit == lag_unit::update)
    behind = behind * config_.clock.minibatches + batch.part;
  if (config_.clock.unit == lag_unit::group)
    behind = behind * config_.groups_per_step
             + std::uint64_t{batch.part} * config_.groups_per_step / config_.clock.minibatches;
  return behind;
}

version_id world::age_from(const group& one) const {
  if (config_.stale.measure == stale_measure::born || one.tokens.empty())
    return one.born;
  return config_.stale.measure == stale_measure::head ? one.tokens.begin()->first : one.tokens.rbegin()->first;
}

void world::carry_out(const admit& what) {
  require(!stopping_, "started a group after the stop");
  const auto host = workers_.find(what.worker);
  require(host != workers_.end(), "started a group on a worker that is gone");
  require(++host->second.running <= host->second.capacity, "overfilled a worker");
  require(host->second.holds == what.born, "born is not what the worker runs");
  require(config_.publish.pattern == publish_pattern::pull || what.born >= scheduler_.at().version,
          "started a group on a worker behind v");
  require(config_.in_flight() || !host->second.sent || *host->second.sent <= what.born,
          "started a group on a draining worker");
  require(config_.place.mode != place_mode::timeshare || !training_, "generates while it trains");
  require(!host->second.lent || config_.place.mode != place_mode::lend || !training_
              || static_cast<double>(in(where::ready).size()) < reclaim_at_ * config_.groups_per_step,
          "a lent worker starts a group though the learner has taken its hardware back");
  for (const auto& [id, other] : workers_)
    require(!host->second.late || other.late || other.holds.value_or(0) <= what.born,
            "started a group on a worker that is left out");
  if (what.group == next_) {
    ++next_;
    // The actions of one event come at once: those behind this one are counted in what the scheduler says it has.
    require(within_limit(), "started a group beyond the gate");
    require(!prompts_told_ || what.group < *prompts, "started a prompt that does not exist");
    require(!what.resume, "a new group goes on");
  } else {
    require(live_.contains(what.group) && live_.at(what.group).state == where::queued,
            "started a group that was not queued");
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
  require(std::isinf(config_.gate.burst)
              || in(where::generating).size()
                     <= generating_then_
                            + std::max<std::size_t>(1, static_cast<std::size_t>(std::floor(
                                                           config_.gate.burst * config_.groups_per_step + 1e-9))),
          "generation grows too fast");
  require(config_.gate.max_inflight == 0 || in(where::generating).size() <= config_.gate.max_inflight,
          "too many groups generate");
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
  require(std::is_sorted(what.groups.begin(), what.groups.end()) && !what.groups.empty(),
          "batch not ascending or empty");
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
  const bool enough = config_.select.tokens_per_step > 0 && tokens >= config_.select.tokens_per_step;
  require(what.groups.size() == size
              || (what.groups.size() < size && (last || enough || config_.faults.lost_group == lost_group::shrink)),
          "batch of a wrong size");
  require(config_.select.tokens_per_step == 0 || tokens - most < config_.select.tokens_per_step,
          "a group more than its tokens ask for");
  if (static_cast<double>(fresh) < config_.select.on_policy_min * static_cast<double>(size)) {
    // Only if no other group of the step's version is there or can come.
    const bool more = static_cast<double>(committed())
                      < config_.groups_per_step * (config_.steps - 1 + config_.tail.oversample_prompts) - 1e-9;
    require(!more || (prompts_told_ && next_ >= *prompts), "fewer fresh groups than wanted, and more could start");
    // Under timeshare those that made room for the learner just now stand in the queue.
    require(config_.place.mode == place_mode::timeshare || in(where::queued).empty(),
            "fewer fresh groups than wanted, and some are to be generated again");
    for (const auto& [id, one] : live_)
      if (!std::binary_search(what.groups.begin(), what.groups.end(), id) && one.state != where::parked
          && one.state != where::training)
        require((one.state == where::ready ? age_from(one) : one.born) != what.step,
                "fewer fresh groups than wanted, and one is under way");
  }
  require(what.ends_step == (last || what.part + 1 == config_.clock.minibatches), "a step ends too early or late");
  require(config_.place.mode != place_mode::timeshare || in(where::generating).empty(), "trains while it generates");
  for (const auto id : what.groups) {
    auto& one = live_.at(id);
    require(one.state == where::ready, "trained a group that was not ready");
    require(!never_train.contains(id), "trained group " + std::to_string(id));
    one.state = where::training;
    const bool whole = config_.stale.action == stale_action::wait || config_.stale.action == stale_action::drop
                       || config_.stale.action == stale_action::requeue;
    require(!whole || lag(age_from(one), what) <= config_.stale.max,
            "group " + std::to_string(id) + " is older than the bound");
  }
  const bool masks =
      config_.stale.action == stale_action::withhold || config_.stale.action == stale_action::mask_tokens;
  require(masks == (what.mask != age_mask::none), "a mask where none is wanted, or none");
  if (masks)
    for (version_id version = 0; version <= what.step; ++version)
      require((version >= what.train_from) == (lag(version, what) <= config_.stale.max),
              "masks from another version than the bound's");
  if (config_.select.order == select_order::in_order)
    for (const auto& [id, one] : live_)
      require(id > what.groups.back() || one.state == where::training, "a lower id was passed over");
  training_ = what;
}

void world::carry_out(const publish& what) {
  require(what.version <= steps_ && what.version + config_.clock.publish_every > steps_ && what.version < config_.steps,
          "published a wrong version");
  newest_sent_ = what.version;
  std::uint32_t flipping = 0;
  for (const auto id : what.workers) {
    auto& one = workers_.at(id);
    require(!one.sent || *one.sent < what.version
                || (*one.sent == what.version && !std::exchange(one.sent_again, true)),
            "published twice");
    require(!one.holds || *one.holds < what.version || *one.holds > steps_, "published what a worker runs");
    require(config_.publish.pattern != publish_pattern::pull || one.running == 0,
            "a worker was sent weights while it generates");
    one.in_turn = one.in_turn || !one.sent || (one.holds && *one.sent <= *one.holds);
    one.sent = what.version;
  }
  for (const auto& [id, one] : workers_)
    flipping += one.in_turn;
  require(config_.publish.pattern != publish_pattern::rolling || flipping <= config_.publish.rolling_width,
          "too many workers take weights at once");
  if (config_.stale.check == stale_check::publish)
    for (const auto& [id, one] : live_)
      require(one.state != where::generating || one.interrupted
                  || lag(one.born, {what.version, {}, part_, false, {}, 0}) <= config_.stale.max,
              "published while a group generates that is too old already");
}

void world::carry_out(const drop& what) {
  const auto found = live_.find(what.group);
  require(found != live_.end(), "dropped a group that is not live");
  off(found->second, where::queued);
  live_.erase(found);
  require(dropped_.insert(what.group).second, "dropped a group twice");
  require(what.reason != drop_reason::zero_variance || flat_ <= config_.flat_groups_per_step,
          "replaced more groups than a step may");
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

} // namespace millrace::schedule
