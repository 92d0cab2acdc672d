#include "runtime/schedule/saved_state.hpp"
#include "runtime/schedule/scheduler.hpp"

#include "runtime/input_error.hpp"

#include <algorithm>

namespace millrace::schedule {

void scheduler::advance() {
  raise_version();
  end_if_done();
  if (phase_ != phase::running)
    return;
  publish_weights();
  cut_batch();
  start_groups();
}

void scheduler::raise_version() {
  const auto newest = held_.empty() ? step_ : held_.begin()->first;
  if (newest <= version_)
    return;
  version_ = newest;
  version_since_s_ = now_s_;
}

// -- what may start ---------------------------------------------------------------------------------

bool scheduler::more_to_start() const {
  const auto started = static_cast<std::uint64_t>(ledger_.sums().admitted);
  const auto committed = static_cast<std::uint64_t>(ledger_.trained().groups) + groups_.size();
  return (!prompts_ || started < *prompts_) && committed < std::uint64_t{config_.steps} * config_.groups_per_step;
}

bool scheduler::may_start_new() const {
  const auto committed = static_cast<double>(ledger_.trained().groups) + static_cast<double>(groups_.size());
  const auto size = static_cast<double>(config_.groups_per_step);
  return more_to_start() && committed < (static_cast<double>(version_) + 1) * size + config_.depth * size;
}

bool scheduler::no_more_groups() const {
  return prompts_ && static_cast<std::uint64_t>(ledger_.sums().admitted) >= *prompts_;
}

void scheduler::start_groups() {
  while (!free_.empty()) {
    if (!queued_.empty()) {
      const auto entry = groups_.find(*queued_.begin());
      queued_.erase(queued_.begin());
      ledger_.move(group_state::queued, group_state::generating, 0);
      place(entry);
    } else if (may_start_new()) {
      const auto id = static_cast<group_id>(ledger_.sums().admitted);
      ledger_.admit();
      place(groups_.try_emplace(id).first);
    } else {
      return;
    }
  }
}

void scheduler::place(group_entry entry) {
  const auto id = free_.begin()->second;
  auto& target = workers_.find(id)->second;
  auto& one = entry->second;
  one.state = group_state::generating;
  ++one.attempt;
  one.worker = id;
  one.born = *target.holds;
  one.since_s = now_s_;
  target.running.insert(entry->first);
  target.since_s = now_s_;
  offer(id, target);
  rule_.start(entry->first, one.born);
  actions_.emplace_back(admit{entry->first, one.attempt, id, one.born});
}

// -- what makes a batch -----------------------------------------------------------------------------

void scheduler::cut_batch() {
  if (training_)
    return;
  auto groups = rule_.cut(step_, no_more_groups());
  if (!groups)
    return;
  batch next;
  next.since_s = now_s_;
  for (const auto id : *groups) {
    auto& one = groups_.find(id)->second;
    set_state(one, group_state::training);
    next.tokens += one.tokens;
  }
  actions_.emplace_back(cut{step_, *groups});
  next.groups = *std::move(groups);
  training_ = std::move(next);
}

// -- who gets the weights ---------------------------------------------------------------------------

void scheduler::publish_weights() {
  if (outdated_.empty())
    return;
  // Without in-flight update, a group that is generating ends under the weights it began with.
  const bool running = config_.in_flight_update && ledger_.live(group_state::generating).groups > 0;
  if (!running && queued_.empty() && !more_to_start())
    return;
  publish next;
  next.version = step_;
  next.workers.assign(outdated_.begin(), outdated_.end());
  for (const auto id : next.workers) {
    auto& one = workers_.find(id)->second;
    one.sent = step_;
    one.since_s = now_s_;
    offer(id, one);
  }
  outdated_.clear();
  actions_.emplace_back(std::move(next));
}

// -- how it ends ------------------------------------------------------------------------------------

void scheduler::end_if_done() {
  if (phase_ == phase::running && !training_) {
    if (step_ >= config_.steps)
      begin_saving(finish_reason::steps_done);
    else if (groups_.empty() && no_more_groups())
      begin_saving(finish_reason::prompts_exhausted);
  } else if (phase_ == phase::stopping && !training_) {
    begin_saving(finish_reason::stopped);
  }
  if (phase_ == phase::saving && checkpoint_saved_ == step_) {
    phase_ = phase::finished;
    actions_.emplace_back(finish{reason_});
  }
}

void scheduler::begin_saving(finish_reason reason) {
  phase_ = phase::saving;
  reason_ = reason;
  learner_since_s_ = now_s_;
  if (reason == finish_reason::steps_done)
    for (const auto id : live_ids()) {
      const auto entry = groups_.find(id);
      stop_generating(entry);
      drop_group(entry, drop_reason::unneeded, "the run ended");
    }
  if (checkpoint_asked_ != step_)
    save_now();
}

void scheduler::save_now() {
  checkpoint_asked_ = step_;
  actions_.emplace_back(checkpoint{step_, save()});
}

std::string scheduler::save() const {
  saved_state state;
  state.settings = config_;
  state.step = step_;
  state.prompts = prompts_;
  state.stale = staleness_;
  state.books = ledger_.sums();
  const auto live = ledger_.live();
  state.books.lost += live.tokens;
  state.books.live = {};
  state.books.live[static_cast<std::size_t>(group_state::queued)].groups = live.groups;
  for (const auto id : live_ids()) {
    const auto& one = groups_.at(id);
    state.groups.push_back({id, one.attempt, one.failures});
  }
  return write(state);
}

scheduler scheduler::restore(const config& wanted, std::string_view text) {
  scheduler result(wanted);
  const auto state = read_saved_state(text);
  auto saved = state.settings;
  saved.steps = wanted.steps;
  saved.checkpoint_every = wanted.checkpoint_every;
  saved.attempts_per_group = wanted.attempts_per_group;
  saved.flat_groups_per_step = wanted.flat_groups_per_step;
  if (saved != wanted)
    throw input_error("schedule state: saved under another schedule (" + in_words(state.settings) + "), want " + in_words(wanted));
  if (state.step > wanted.steps)
    throw input_error("schedule state: " + std::to_string(state.step) + " steps are trained, want a run of at least as many, got " +
                      std::to_string(wanted.steps));
  result.step_ = state.step;
  result.version_ = state.step;
  result.prompts_ = state.prompts;
  result.staleness_ = state.stale;
  result.ledger_ = ledger(state.books);
  result.checkpoint_asked_ = state.step;
  result.checkpoint_saved_ = state.step;
  for (const auto& one : state.groups) {
    group live;
    live.attempt = one.attempt;
    live.failures = one.failures;
    result.groups_.emplace(one.id, std::move(live));
    result.queued_.insert(result.queued_.end(), one.id);
    result.rule_.queue(one.id);
  }
  return result;
}

} // namespace millrace::schedule
