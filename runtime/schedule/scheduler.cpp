#include "runtime/schedule/scheduler.hpp"

#include "runtime/words/input_error.hpp"

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

} // namespace

scheduler::scheduler(const config& wanted)
    : config_(checked(wanted)), rule_(wanted), reclaim_at_(wanted.place.reclaim_at) {
  const auto last = config_.steps - 1;
  for (const bool oversampled : {false, true})
    last_limit_[oversampled] = admission_limit(config_, {last, 0, last, oversampled});
}

const std::vector<action>& scheduler::on(const event& told, double now_s) {
  now_s_ = now_s;
  actions_.clear();
  std::visit([this](const auto& one) { handle(one); }, told);
  advance();
  return actions_;
}

group_id scheduler::oldest_live() const {
  if (!groups_.empty())
    return groups_.lowest();
  const auto next = static_cast<group_id>(ledger_.sums().admitted);
  return std::min(next, prompts_.value_or(next));
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
  if (config_.select.tokens_per_step > 0)
    return std::uint64_t{step_} * config_.groups_per_step;
  auto groups = ledger_.trained().groups;
  if (config_.faults.lost_group == lost_group::shrink)
    groups += ledger_.dropped(drop_reason::data).groups + ledger_.dropped(drop_reason::attempts).groups;
  return static_cast<std::uint64_t>(groups);
}

// -- the learner ------------------------------------------------------------------------------------------------------

void scheduler::handle(const batch_trained& told) {
  if (!training_ || told.step != step_ || told.part != part_) {
    ++ignored_;
    return;
  }
  if (told.masked < 0 || told.tokens + told.masked != training_->tokens)
    ledger_.dispute("step " + std::to_string(told.step) + ": the learner trained " + std::to_string(told.tokens)
                    + (told.masked != 0 ? " and masked " + std::to_string(told.masked) : std::string())
                    + " tokens, the groups of its batch have " + std::to_string(training_->tokens));
  if (told.masked < training_->too_old)
    ledger_.dispute("step " + std::to_string(told.step) + ": the learner masked " + std::to_string(told.masked)
                    + " tokens, " + std::to_string(training_->too_old) + " are older than the bound");
  const auto& used = training_->groups;
  for (std::size_t i = 0; i < used.size(); ++i) {
    groups_.prefetch(used[std::min(i + 8, used.size() - 1)]);
    const auto id = used[i];
    auto& one = groups_.at(id);
    const auto trained =
        training_->mask == age_mask::none ? one.counted.all() : one.counted.since(training_->train_from);
    if (training_->mask == age_mask::none || !trained.empty() || one.born >= training_->train_from)
      staleness_.add(step_, one.born, trained);
    ledger_.train(one.tokens);
    forget_group(id, one);
  }
  ledger_.mask(told.masked);
  const bool ends_step = training_->ends_step;
  training_.reset();
  learner_since_s_ = now_s_;
  if (ends_step)
    finish_step();
  else
    ++part_;
  if (!ends_step && config_.clock.unit != lag_unit::step)
    offer_again();
}

/// After what moved the bound.
void scheduler::offer_again() {
  if (config_.stale.bounded() && config_.stale.action != stale_action::wait)
    for (auto& [id, one] : workers_)
      offer(id, one);
}

void scheduler::finish_step() {
  if (config_.place.reclaim_adapt)
    reclaim_at_ = adapted_reclaim(config_, reclaim_at_, rule_.ready());
  ++step_;
  part_ = 0;
  flat_dropped_ = 0;
  if (step_ % config_.clock.publish_every == 0) {
    published_ = step_;
    for (const auto& [id, one] : workers_)
      outdated_.insert(outdated_.end(), id);
  }
  offer_again();
  if (checkpoint_wanted_ || (config_.checkpoint_every > 0 && step_ % config_.checkpoint_every == 0))
    save_now();
}

void scheduler::handle(const training_lost& told) {
  if (!training_ || told.step != step_ || told.part != part_) {
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

// -- the run ----------------------------------------------------------------------------------------------------------

void scheduler::handle(const prompts_exhausted& told) {
  prompts_ = std::min(told.count, prompts_.value_or(told.count));
  for (const auto id : live_ids()) {
    auto& one = groups_.at(id);
    if (id < *prompts_ || one.state == group_state::training)
      continue;
    stop_generating(id, one);
    drop_group(id, one, drop_reason::unneeded, "there are only " + std::to_string(*prompts_) + " prompts");
  }
}

void scheduler::handle(const checkpointed& told) {
  if (checkpoint_asked_ && told.step <= *checkpoint_asked_ && (!checkpoint_saved_ || told.step > *checkpoint_saved_))
    checkpoint_saved_ = told.step;
  else
    ++ignored_;
}

void scheduler::handle(const stop_requested&) {
  if (phase_ != phase::running)
    ++ignored_;
  else
    give_up(finish_reason::stopped, {});
}

void scheduler::handle(const checkpoint_wanted&) {
  checkpoint_wanted_ = phase_ == phase::running;
}

void scheduler::give_up(finish_reason reason, std::string why) {
  if (phase_ != phase::running)
    return;
  phase_ = phase::stopping;
  reason_ = reason;
  why_ = std::move(why);
}

// -- how it ends ------------------------------------------------------------------------------------------------------

void scheduler::end_if_done() {
  if (phase_ == phase::running && !training_) {
    if (step_ < config_.steps && part_ > 0 && groups_.empty() && no_more_groups())
      finish_step(); // the groups of its other updates were lost, and there are no prompts for more
    if (step_ >= config_.steps)
      begin_saving(finish_reason::steps_done);
    else if (groups_.empty() && no_more_groups())
      begin_saving(finish_reason::prompts_exhausted);
  }
  if (phase_ == phase::stopping) {
    for (const auto id : generating_ids()) {
      auto& one = groups_.at(id);
      stop_generating(id, one);
      requeue(id, one);
    }
    if (!training_)
      begin_saving(reason_);
  }
  if (phase_ == phase::saving && checkpoint_saved_ == step_) {
    phase_ = phase::finished;
    actions_.emplace_back(finish{reason_, why_});
  }
}

void scheduler::begin_saving(finish_reason reason) {
  phase_ = phase::saving;
  reason_ = reason;
  learner_since_s_ = now_s_;
  if (reason == finish_reason::steps_done)
    for (const auto id : live_ids()) {
      auto& one = groups_.at(id);
      stop_generating(id, one);
      drop_group(id, one, drop_reason::unneeded, "the run ended");
    }
  if (checkpoint_asked_ != step_ || part_ > 0)
    save_now();
}

void scheduler::save_now() {
  checkpoint_asked_ = step_;
  checkpoint_wanted_ = false;
  if (part_ > 0)
    checkpoint_saved_.reset(); // the one of the step's start does not hold the updates since
  actions_.emplace_back(checkpoint{step_, save()});
}

} // namespace millrace::schedule
