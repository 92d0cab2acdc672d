#pragma once

#include "runtime/schedule/scheduler.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace millrace::schedule {

/// Plays a run's other half at random: workers that join, die, flip and finish; roles that fail; a learner that gives
/// up; checkpoints, restarts, exhausted prompts, a stop. Keeps its own books of what may happen and throws, with a
/// sentence, as soon as the scheduler breaks an invariant (S-1 to S-7 of scheduler.hpp).
class random_run {
public:
  explicit random_run(std::uint64_t seed) : random_(seed), scheduler_(random_config()) {
    if (chance(0.3))
      prompts_ = random(1, config_.groups_per_step * config_.steps + 5);
    stop_at_ = chance(0.15) ? random(1, 300) : 1'000'000'000;
    harsh_ = chance(0.5);
  }

  /// Until the run is finished. @returns events fed
  std::uint64_t play() {
    for (std::uint32_t i = random(1, 3); i > 0; --i)
      join();
    while (!finished_) {
      step();
      require(events_ < 200'000, "the run does not come to an end");
    }
    for (group_id id = 0; id < next_; ++id)
      require(trained_.contains(id) + dropped_.contains(id) + live_.contains(id) == 1, "group " + std::to_string(id) + " is not in one place");
    require(reason_ == finish_reason::stopped || live_.empty(), "finished with live groups");
    require(reason_ != finish_reason::steps_done || steps_trained_ == config_.steps, "finished too early");
    require(reason_ != finish_reason::prompts_exhausted || (prompts_told_ && next_ >= *prompts_), "prompts were left");
    require(scheduler_.waits().empty(), "waits after the end");
    return events_;
  }

  std::uint64_t events() const { return events_; }
  const config& settings() const { return config_; }

private:
  enum class where { queued, generating, finished, ready, training };

  struct group {
    where state = where::queued;
    std::uint32_t attempt = 0;
    worker_id worker = 0;
    version_id born = 0;
    version_id oldest = 0;
    std::int64_t tokens = 0;
  };

  struct worker {
    std::uint32_t capacity = 0;
    std::optional<version_id> holds;
    std::optional<version_id> sent;
    std::uint32_t running = 0;
  };

  struct snapshot {
    std::string state;
    std::set<group_id> trained;
    std::set<group_id> dropped;
    std::uint32_t step = 0;
    bool prompts_told = false;
  };

  std::uint32_t random(std::uint32_t low, std::uint32_t high) { return low + static_cast<std::uint32_t>(random_() % (high - low + 1)); }
  bool chance(double probability) { return static_cast<double>(random_() >> 11) * 0x1p-53 < probability; }

  static void require(bool holds, const std::string& sentence) {
    if (!holds)
      throw std::runtime_error(sentence);
  }

  config random_config() {
    const auto pick = random(0, 4);
    if (pick < 3) {
      config_ = preset(preset_names()[pick]);
    } else {
      constexpr double depths[] = {0, 0.3, 0.5, 1, 1.5, 2, 4};
      config_.depth = depths[random(0, 6)];
      config_.stale_max = static_cast<std::uint32_t>(config_.depth + 0.999) + random(0, 2);
      config_.select = chance(0.5) ? select_order::oldest : select_order::in_order;
      config_.in_flight_update = chance(0.5);
      config_.action = chance(0.8) ? stale_action::wait : stale_action::train;
    }
    config_.groups_per_step = random(1, 6);
    config_.steps = random(1, 25);
    config_.checkpoint_every = random(0, 3);
    config_.attempts_per_group = random(1, 5);
    return config_;
  }

  template <class Map>
  typename Map::iterator any(Map& map) {
    return std::next(map.begin(), static_cast<std::ptrdiff_t>(random_() % map.size()));
  }

  std::vector<group_id> in(where state) const {
    std::vector<group_id> result;
    for (const auto& [id, one] : live_)
      if (one.state == state)
        result.push_back(id);
    return result;
  }

  group_id any(const std::vector<group_id>& ids) { return ids[random_() % ids.size()]; }

  bool may_flip(const worker& one) const {
    return one.sent && (!one.holds || *one.sent > *one.holds) && (config_.in_flight_update || one.running == 0);
  }

  void step() {
    const auto generating = in(where::generating);
    const auto finished = in(where::finished);
    const auto ready = in(where::ready);
    std::vector<worker_id> flipping;
    for (const auto& [id, one] : workers_)
      if (may_flip(one))
        flipping.push_back(id);
    const bool under_way = !generating.empty() || !finished.empty() || !flipping.empty() || training_ || !saving_.empty();
    require(under_way || workers_.empty() || stopping_, "nothing is under way, though " + std::to_string(workers_.size()) + " workers wait");
    if (!stopping_ && events_ >= stop_at_)
      return stop();
    if (prompts_ && !prompts_told_ && (next_ > *prompts_ || chance(0.02))) {
      prompts_told_ = true;
      return feed(prompts_exhausted{*prompts_});
    }
    if (workers_.empty() || (workers_.size() < 4 && chance(0.01)))
      return join();
    if (harsh_ && chance(0.03))
      return misfortune(generating, finished, ready);
    switch (random(0, 5)) {
      case 0:
      case 1:
        if (!generating.empty())
          return finish_group(any(generating));
        break;
      case 2:
        if (!finished.empty())
          return make_ready(any(finished));
        break;
      case 3:
        if (training_ && chance(0.5))
          return train();
        break;
      case 4:
        if (!flipping.empty())
          return acknowledge(flipping[random_() % flipping.size()]);
        break;
      default:
        if (!saving_.empty()) {
          const auto saved = saving_.front();
          saving_.erase(saving_.begin());
          return feed(checkpointed{saved});
        }
    }
  }

  void misfortune(const std::vector<group_id>& generating, const std::vector<group_id>& finished, const std::vector<group_id>& ready) {
    switch (random(0, 6)) {
      case 0: return lose_worker(any(workers_)->first);
      case 1:
        if (!generating.empty())
          return fail(any(generating), random(0, 9));
        break;
      case 2:
        if (!finished.empty())
          return fail(any(finished), 0);
        break;
      case 3:
        if (!ready.empty() || !finished.empty()) {
          const auto id = any(ready.empty() ? finished : ready);
          const auto attempt = live_.at(id).attempt;
          unstart(id);
          return feed(group_lost{id, attempt});
        }
        break;
      case 4:
        if (training_) {
          const auto given_up = *std::exchange(training_, std::nullopt);
          for (const auto id : given_up.groups)
            live_.at(id).state = where::ready;
          return feed(training_lost{given_up.step});
        }
        break;
      case 5: return late_message();
      default:
        if (chance(0.3) && !stopping_)
          return restart();
    }
  }

  void join() {
    worker one;
    one.capacity = random(1, 8);
    if (chance(0.5) || steps_trained_ == 0)
      one.holds = random(0, steps_trained_);
    const auto id = chance(0.1) && !workers_.empty() ? any(workers_)->first : next_worker_++;
    if (workers_.contains(id))
      abandon(id);
    workers_[id] = one;
    feed(worker_joined{id, one.capacity, one.holds, "rollout/" + std::to_string(id)});
  }

  void abandon(worker_id id) {
    for (auto& [group_number, one] : live_)
      if (one.state == where::generating && one.worker == id)
        one.state = where::queued;
    workers_.erase(id);
  }

  void lose_worker(worker_id id) {
    abandon(id);
    feed(worker_lost{id});
  }

  void unstart(group_id id) {
    auto& one = live_.at(id);
    if (one.state == where::generating)
      --workers_.at(one.worker).running;
    one.state = where::queued;
  }

  void finish_group(group_id id) {
    auto& one = live_.at(id);
    auto& host = workers_.at(one.worker);
    --host.running;
    one.state = where::finished;
    group_finished told{id, one.attempt, {}};
    one.tokens = 0;
    one.oldest = one.born;
    const auto newest = config_.in_flight_update ? std::max(host.holds.value_or(0), host.sent.value_or(0)) : one.born;
    for (auto version = one.born; version <= newest; ++version)
      if (chance(0.8)) {
        told.tokens.push_back({version, random(1, 50)});
        one.tokens += told.tokens.back().tokens;
      }
    feed(told);
  }

  void make_ready(group_id id) {
    live_.at(id).state = where::ready;
    feed(group_ready{id, live_.at(id).attempt});
  }

  void fail(group_id id, std::int64_t tokens) {
    const auto attempt = live_.at(id).attempt;
    unstart(id);
    feed(group_failed{id, attempt, chance(0.7), tokens, "by chance"});
  }

  void acknowledge(worker_id id) {
    auto& one = workers_.at(id);
    one.holds = one.sent;
    feed(version_acknowledged{id, *one.holds});
  }

  void train() {
    std::int64_t tokens = 0;
    const auto done = *std::exchange(training_, std::nullopt);
    for (const auto id : done.groups) {
      require(trained_.insert(id).second, "group " + std::to_string(id) + " was trained twice");
      tokens += live_.at(id).tokens;
      live_.erase(id);
    }
    ++steps_trained_;
    feed(batch_trained{done.step, tokens});
  }

  void late_message() {
    const auto before = scheduler_.ignored();
    switch (random(0, 4)) {
      case 0: feed(group_ready{next_ + 7, 1}); break;
      case 1: feed(batch_trained{steps_trained_ + 3, 5}); break;
      case 2: feed(version_acknowledged{next_worker_ + 1, 0}); break;
      case 3: feed(worker_lost{next_worker_ + 1}); break;
      default:
        if (live_.empty())
          return;
        feed(group_finished{any(live_)->first, 0, {}});
    }
    require(scheduler_.ignored() == before + 1, "a late message was believed");
  }

  void stop() {
    stopping_ = true;
    for (auto& [id, one] : live_)
      if (one.state == where::generating)
        unstart(id);
    feed(stop_requested{});
  }

  void restart() {
    const auto from = chance(0.5) && saved_ ? *saved_ : snapshot{scheduler_.save(), trained_, dropped_, steps_trained_, prompts_told_};
    scheduler_ = scheduler::restore(config_, from.state);
    require(scheduler_.save() == from.state, "what was restored is saved differently");
    trained_ = from.trained;
    dropped_ = from.dropped;
    steps_trained_ = from.step;
    prompts_told_ = from.prompts_told;
    version_ = steps_trained_;
    next_ = scheduler_.at().next_group;
    saved_ = from;
    workers_.clear();
    training_.reset();
    saving_.clear();
    std::map<group_id, group> kept;
    for (group_id id = 0; id < next_; ++id)
      if (!trained_.contains(id) && !dropped_.contains(id))
        kept[id].attempt = live_.contains(id) ? live_.at(id).attempt : 0;
    // Attempts may begin below those of the life that was cut off: its messages cannot come any more.
    for (auto& [id, one] : kept)
      one.attempt = 0;
    live_ = std::move(kept);
    require(static_cast<std::size_t>(scheduler_.at().queued) == live_.size(), "restored another number of groups");
    join();
  }

  void feed(const event& what) {
    ++events_;
    const auto actions = scheduler_.on(what, static_cast<double>(events_));
    for (std::size_t i = 0; i < actions.size(); ++i) {
      require(!finished_, "an action after finish");
      std::visit([this](const auto& one) { carry_out(one); }, actions[i]);
    }
    if (const auto wrong = scheduler_.audit(); !wrong.empty())
      throw std::runtime_error("audit: " + wrong);
    const auto now = scheduler_.at();
    require(now.version >= version_, "v went back");
    version_ = now.version;
    require(now.step == steps_trained_ && now.consumed == trained_.size(), "steps or trained groups are miscounted");
    require(static_cast<std::size_t>(now.queued + now.generating + now.finished + now.ready + now.training) == live_.size(),
            "live groups are miscounted");
    require(static_cast<std::size_t>(scheduler_.books().dropped().groups) == dropped_.size(), "drops are miscounted");
    if (events_ % 16 == 0 && !finished_ && !stopping_)
      require(!scheduler_.waits().empty() || !in(where::generating).empty(), "nobody waits and nothing runs");
  }

  void carry_out(const admit& what) {
    require(!stopping_, "started a group after the stop");
    const auto host = workers_.find(what.worker);
    require(host != workers_.end(), "started a group on a worker that is gone");
    require(++host->second.running <= host->second.capacity, "overfilled a worker");
    require(host->second.holds == what.born, "born is not what the worker runs");
    require(what.born >= scheduler_.at().version, "started a group on a worker behind v");
    require(config_.in_flight_update || !host->second.sent || *host->second.sent <= what.born, "started a group on a draining worker");
    if (what.group == next_) {
      ++next_;
      const auto committed = static_cast<double>(live_.size() + trained_.size());
      const double size = config_.groups_per_step;
      require(committed < (scheduler_.at().version + 1.0) * size + config_.depth * size, "started a group beyond the gate");
      require(committed < size * config_.steps, "started a group that no step needs");
      require(!prompts_told_ || what.group < *prompts_, "started a prompt that does not exist");
    } else {
      require(live_.contains(what.group) && live_.at(what.group).state == where::queued, "started a group that was not queued");
      require(what.attempt > live_.at(what.group).attempt, "used an attempt twice");
    }
    auto& one = live_[what.group];
    one.state = where::generating;
    one.attempt = what.attempt;
    one.worker = what.worker;
    one.born = what.born;
  }

  void carry_out(const cancel& what) {
    const auto found = live_.find(what.group);
    require(found != live_.end(), "cancelled a group that is gone");
    if (found->second.state == where::generating)
      unstart(what.group);
  }

  void carry_out(const cut& what) {
    require(!training_ && !stopping_, "cut a batch beside another one or after the stop");
    require(what.step == steps_trained_, "cut another step than the next");
    require(std::is_sorted(what.groups.begin(), what.groups.end()) && !what.groups.empty(), "batch not ascending or empty");
    const bool last = prompts_told_ && next_ >= *prompts_ && what.groups.size() == live_.size();
    require(what.groups.size() == config_.groups_per_step || (last && what.groups.size() < config_.groups_per_step), "batch of a wrong size");
    for (const auto id : what.groups) {
      auto& one = live_.at(id);
      require(one.state == where::ready, "trained a group that was not ready");
      one.state = where::training;
      if (config_.action == stale_action::wait)
        require(what.step - one.born <= config_.stale_max, "group " + std::to_string(id) + " is older than the bound");
    }
    if (config_.select == select_order::in_order)
      for (const auto& [id, one] : live_)
        require(id > what.groups.back() || one.state == where::training, "a lower id was passed over");
    training_ = what;
  }

  void carry_out(const publish& what) {
    require(what.version == steps_trained_ && what.version < config_.steps, "published a wrong version");
    for (const auto id : what.workers) {
      auto& one = workers_.at(id);
      require((!one.sent || *one.sent < what.version) && (!one.holds || *one.holds < what.version || *one.holds > steps_trained_), "published twice");
      one.sent = what.version;
    }
  }

  void carry_out(const drop& what) {
    if (live_.contains(what.group) && live_.at(what.group).state == where::generating)
      unstart(what.group);
    require(live_.erase(what.group) == 1, "dropped a group that is not live");
    require(dropped_.insert(what.group).second, "dropped a group twice");
  }

  void carry_out(const checkpoint& what) {
    require(what.step == steps_trained_, "checkpoint of another step");
    saving_.push_back(what.step);
    saved_ = snapshot{what.state, trained_, dropped_, steps_trained_, prompts_told_};
  }

  void carry_out(const finish& what) {
    finished_ = true;
    reason_ = what.reason;
  }

  std::mt19937_64 random_;
  config config_;
  scheduler scheduler_;
  std::map<group_id, group> live_;
  std::map<worker_id, worker> workers_;
  std::set<group_id> trained_;
  std::set<group_id> dropped_;
  std::optional<cut> training_;
  std::vector<std::uint32_t> saving_;
  std::optional<snapshot> saved_;
  std::optional<std::uint64_t> prompts_;
  bool prompts_told_ = false;
  bool stopping_ = false;
  bool finished_ = false;
  bool harsh_ = false;
  finish_reason reason_ = finish_reason::steps_done;
  std::uint32_t steps_trained_ = 0;
  version_id version_ = 0;
  group_id next_ = 0;
  worker_id next_worker_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t stop_at_ = 0;
};

} // namespace millrace::schedule
