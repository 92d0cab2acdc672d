#include "actors/coordination.hpp"

#include <algorithm>

namespace millrace::actors {
namespace {

/// The finalizer of splitmix64 (Steele, Lea and Flood 2014): every bit of the input moves every bit of the output.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

train::age_mask mask_of(schedule::training_mask mask) {
  switch (mask) {
  case schedule::training_mask::none:
    return train::age_mask::none;
  case schedule::training_mask::tokens:
    return train::age_mask::tokens;
  case schedule::training_mask::answers:
    return train::age_mask::answers;
  }
  return train::age_mask::none;
}

/// Refusals of weights in a row: after that many nothing suggests that another attempt would end otherwise.
constexpr int allowed_weight_refusals = 3;

} // namespace

std::uint64_t group_seed(std::uint64_t run_seed, std::uint64_t group) { return mix(mix(run_seed) ^ group); }

coordination::coordination(group_graph graph, schedule::scheduler scheduler, std::uint64_t run_seed,
                           bool in_flight_update, coordination_effects& effects)
    : graph_(std::move(graph)), scheduler_(std::move(scheduler)), run_seed_(run_seed),
      in_flight_update_(in_flight_update), effects_(effects), evaluations_(graph_.evaluations) {
  if (const auto at = scheduler_.at(); at.part > 0) // goes on from a checkpoint within a step
    open_step_ = train_batch{at.step + 1, at.step, {}, at.part};
}

// -- roles -----------------------------------------------------------------------------------------------------------

schedule::worker_id coordination::worker_number(const role_instance& who) {
  return worker_numbers_.emplace(who.name(), static_cast<schedule::worker_id>(worker_numbers_.size())).first->second;
}

coordination::live_role* coordination::rollout_of(schedule::worker_id worker) {
  for (auto& [name, role] : rollouts_)
    if (role.worker == worker)
      return &role;
  return nullptr;
}

void coordination::rollout_up(const role_instance& who, std::uint64_t node, std::uint32_t capacity_groups, double now,
                              bool lent) {
  const auto worker = worker_number(who);
  rollouts_[who.name()] = {who, node, worker, 0, 0};
  vanished_.forget(who.name());
  act(schedule::worker_joined{worker, capacity_groups, std::nullopt, who.name(), lent}, now);
}

void coordination::stage_up(const role_instance& who, std::uint64_t node) {
  stages_[who.name()] = {who, node, 0, 0, 0};
  vanished_.forget(who.name());
  for (auto& [group, record] : groups_)
    if (record.waiting.erase(who.role) > 0)
      hand_to_stage(group, who.role);
}

void coordination::policy_up(std::uint64_t node, double) {
  policy_node_ = node;
  const auto version = scheduler_.at().step;
  if (!scheduler_.finished() && evaluations_.reached(version, true))
    publish_for_evaluation(version);
  else if (publishing_for_evaluation_)
    publish_for_evaluation(*publishing_for_evaluation_);
  if (publishing_ && publishing_ != publishing_for_evaluation_)
    effects_.publish(*publishing_);
  if (!graph_.publishes)
    tell_version();
  advance_evaluations();
}

void coordination::evaluation_up(const role_instance& who, std::uint64_t node) {
  evaluations_.up(who, node);
  advance_evaluations();
}

void coordination::node_gone(std::uint64_t node, double now) {
  if (const auto keeper = keepers_.find(node); policy_node_ == node || keeper != keepers_.end()) {
    effects_.fail("the process of the " + (policy_node_ == node ? "policy" : keeper->second)
                  + " ended: go on from the last checkpoint with `millrace resume`");
    return;
  }
  for (const auto& who : evaluations_.gone(node))
    effects_.complain(who.name() + " is gone: what it was evaluating is lost, nothing else");
  advance_evaluations();
  std::vector<schedule::worker_id> lost_workers;
  std::erase_if(rollouts_, [&](const auto& entry) {
    if (entry.second.node != node)
      return false;
    lost_workers.push_back(entry.second.worker);
    return true;
  });
  std::set<std::string> lost_stages;
  std::erase_if(stages_, [&](const auto& entry) {
    if (entry.second.node != node)
      return false;
    lost_stages.insert(entry.first);
    return true;
  });
  // Columns that lay in the dead process and were not fetched yet: the group is generated again.
  std::vector<schedule::group_lost> lost_groups;
  std::vector<std::pair<std::uint64_t, std::string>> work_again;
  for (auto& [group, record] : groups_) {
    if (record.rollout) {
      if (!rollouts_.contains(record.rollout->name()))
        record.rollout.reset(); // CO-4: what it may still have sent comes too late
      continue;
    }
    if (record.fetched)
      continue;
    if ((record.partial.id != 0 && record.partial.owner == node)
        || std::any_of(record.columns.begin(), record.columns.end(), [&](const auto& t) { return t.owner == node; })) {
      lost_groups.push_back({group, record.attempt});
      continue;
    }
    for (const auto& [role, who] : record.at)
      if (lost_stages.contains(who.name()))
        work_again.emplace_back(group, role);
  }
  for (const auto worker : lost_workers)
    act(schedule::worker_lost{worker}, now);
  for (const auto& lost : lost_groups)
    if (auto* record = current(lost.group, lost.attempt)) {
      release_columns(*record);
      act(lost, now);
    }
  for (const auto& [group, role] : work_again)
    if (const auto found = groups_.find(group); found != groups_.end() && found->second.at.erase(role) > 0)
      hand_to_stage(group, role);
}

// -- groups ----------------------------------------------------------------------------------------------------------

coordination::group_record* coordination::current(std::uint64_t group, std::uint32_t attempt) {
  const auto found = groups_.find(group);
  return found != groups_.end() && found->second.attempt == attempt ? &found->second : nullptr;
}

const prompt_row* coordination::row_of(std::uint64_t group) const {
  const auto found = groups_.find(group);
  return found != groups_.end() && found->second.row ? &*found->second.row : nullptr;
}

std::vector<std::string> coordination::working_on(std::uint64_t group) const {
  std::vector<std::string> names;
  const auto found = groups_.find(group);
  if (found == groups_.end())
    return names;
  for (const auto& [role, who] : found->second.at)
    names.push_back(who.name());
  names.insert(names.end(), found->second.waiting.begin(), found->second.waiting.end());
  if (found->second.fetching && !found->second.fetched)
    names.push_back(graph_.policy);
  return names;
}

std::string coordination::answered_by(std::uint64_t group) const {
  const auto found = groups_.find(group);
  if (found != groups_.end() && graph_.rollouts.size() > 1)
    for (const auto& role : found->second.done)
      if (graph_.rollouts.contains(role))
        return role;
  return "";
}

std::map<std::string, double> coordination::summary_of(std::uint64_t group) const {
  const auto found = groups_.find(group);
  return found != groups_.end() ? found->second.summary : std::map<std::string, double>{};
}

void coordination::start_generation(std::uint64_t group) {
  auto& record = groups_.at(group);
  if (!record.row) {
    if (asked_prompts_.insert(group).second)
      effects_.take_prompt(group);
    return;
  }
  if (const auto asked = rollouts_.find(record.rollout->name()); asked != rollouts_.end())
    record.asked = ++asked->second.asked;
  const auto answers = graph_.rollouts.at(record.rollout->role);
  const auto started = record.oversampled ? schedule::answers_started(scheduler_.settings(), static_cast<std::uint32_t>(answers)) : 0;
  effects_.generate(*record.rollout, {group, record.attempt, record.row->prompt, answers, group_seed(run_seed_, group), record.row->demonstrations,
                                     record.row->margin, record.partial, static_cast<std::int32_t>(started)});
}

void coordination::prompt_arrived(const prompt_row& row, double now) {
  asked_prompts_.erase(row.index);
  if (row.skipped_rows > 0)
    effects_.complain(std::to_string(row.skipped_rows) + (row.skipped_rows == 1 ? " row skipped: " : " rows skipped, the first: ")
                      + row.skipped_first);
  if (row.exhausted) {
    act(schedule::prompts_exhausted{row.index}, now);
    return;
  }
  const auto found = groups_.find(row.index);
  if (found == groups_.end())
    return;
  found->second.row = row;
  if (found->second.rollout)
    start_generation(row.index);
}

void coordination::generation_refused(std::uint64_t group, std::uint32_t attempt, const std::string& why, bool retryable,
                                      double now) {
  if (current(group, attempt))
    act(schedule::group_failed{group, attempt, retryable, 0, why}, now);
}

void coordination::generation_accepted(std::uint64_t group, std::uint32_t attempt) {
  if (auto* record = current(group, attempt); record && record->rollout && record->partial.id != 0)
    effects_.release({std::exchange(record->partial, {})});
}

void coordination::interrupted(const group_interrupted& what, double now) {
  auto* record = current(what.group, what.attempt);
  if (!record || record->rollout != what.from) {
    effects_.release({what.partial}); // CO-4
    return;
  }
  record->rollout.reset();
  if (const auto before = std::exchange(record->partial, what.partial); before.id != 0)
    effects_.release({before});
  schedule::group_interrupted event{what.group, what.attempt, {}};
  for (const auto& [version, tokens] : what.tokens)
    event.tokens.add(version, tokens);
  act(event, now);
}

void coordination::generated(const group_generated& what, double now) {
  auto* record = current(what.group, what.attempt);
  if (!record || record->rollout != what.from) {
    effects_.release({what.columns}); // CO-4
    return;
  }
  record->rollout.reset();
  record->done.insert(what.from.role);
  record->columns.push_back(what.columns);
  schedule::group_finished event{what.group, what.attempt, {}, what.baseline_tokens, {}, what.surplus_tokens};
  for (const auto& [version, tokens] : what.tokens)
    event.tokens.add(version, tokens);
  for (const auto& [version, tokens] : what.answers)
    event.answers.add(version, tokens);
  act(event, now);
  advance(what.group);
}

bool coordination::ready_for(const group_record& record, const std::vector<std::string>& from) const {
  // A role that reads from several rollout roles reads from the one that generated this group.
  return std::all_of(from.begin(), from.end(), [&](const std::string& role) {
    return record.done.contains(role)
           || (graph_.rollouts.contains(role)
               && std::any_of(record.done.begin(), record.done.end(),
                              [&](const auto& done) { return graph_.rollouts.contains(done); }));
  });
}

void coordination::advance(std::uint64_t group) {
  const auto found = groups_.find(group);
  if (found == groups_.end() || found->second.rollout)
    return;
  auto& record = found->second;
  for (const auto& stage : graph_.stages)
    if (!record.done.contains(stage.role) && !record.at.contains(stage.role) && !record.waiting.contains(stage.role)
        && ready_for(record, stage.from))
      hand_to_stage(group, stage.role);
  if (!record.fetching && ready_for(record, graph_.policy_from)) {
    record.fetching = true;
    effects_.fetch({group, record.attempt, record.columns, record.row ? record.row->data_source : std::string()});
  }
}

void coordination::hand_to_stage(std::uint64_t group, const std::string& role) {
  auto& record = groups_.at(group);
  live_role* least = nullptr;
  for (auto& [name, stage] : stages_)
    if (stage.who.role == role && (!least || stage.busy < least->busy))
      least = &stage;
  if (!least) {
    record.waiting.insert(role);
    return;
  }
  ++least->busy;
  record.at[role] = least->who;
  record.asked_of[role] = ++least->asked;
  effects_.process(least->who, {group, record.attempt, record.row ? record.row->answer : std::string(), record.columns,
                                record.row ? record.row->prompt : std::vector<chat_turn>()});
}

void coordination::processed(const role_instance& stage, const group_columns& what, double now) {
  if (const auto at = stages_.find(stage.name()); at != stages_.end() && at->second.who == stage)
    --at->second.busy;
  auto* record = current(what.group, what.attempt);
  const auto at_work = record ? record->at.find(stage.role) : decltype(record->at.find(stage.role)){};
  if (!record || at_work == record->at.end() || at_work->second != stage) {
    effects_.release({what.columns});
    return;
  }
  record->at.erase(at_work);
  if (!what.complaint.empty()) {
    effects_.release({what.columns});
    act(schedule::group_failed{what.group, what.attempt, false, 0, stage.role + ": " + what.complaint}, now);
    return;
  }
  record->done.insert(stage.role);
  record->columns.push_back(what.columns);
  record->summary.insert(what.summary.begin(), what.summary.end());
  advance(what.group);
}

void coordination::processing_failed(const role_instance& stage, std::uint64_t group, std::uint32_t attempt,
                                     const std::string& why, double now) {
  if (const auto at = stages_.find(stage.name()); at != stages_.end() && at->second.who == stage)
    --at->second.busy;
  auto* record = current(group, attempt);
  if (!record)
    return;
  const auto at_work = record->at.find(stage.role);
  if (at_work == record->at.end() || at_work->second != stage)
    return;
  record->at.erase(at_work);
  effects_.complain(stage.name() + " could not process group " + std::to_string(group) + ": " + why);
  release_columns(*record);
  act(schedule::group_failed{group, attempt, true, 0, stage.name() + ": " + why}, now);
}

void coordination::fetched(const group_fetched& what, double now) {
  auto* record = current(what.group, what.attempt);
  if (!record || !record->fetching) {
    return;
  }
  record->fetched = true;
  release_columns(*record);
  if (what.flat)
    act(schedule::group_flat{what.group, what.attempt}, now);
  else
    act(schedule::group_ready{what.group, what.attempt}, now);
}

void coordination::fetch_failed(std::uint64_t group, std::uint32_t attempt, const std::string& why, double now) {
  auto* record = current(group, attempt);
  if (!record || record->fetched)
    return;
  effects_.complain("the policy could not fetch group " + std::to_string(group) + ": " + why);
  release_columns(*record);
  act(schedule::group_lost{group, attempt}, now);
}

void coordination::release_columns(group_record& record) {
  if (record.partial.id != 0)
    record.columns.push_back(std::exchange(record.partial, {}));
  if (!record.columns.empty())
    effects_.release(record.columns);
  record.columns.clear();
}

void coordination::restart_record(group_record& record, std::uint32_t attempt) {
  release_columns(record);
  std::optional<prompt_row> row = std::move(record.row);
  record = {};
  record.row = std::move(row);
  record.attempt = attempt;
}

// -- training and weights --------------------------------------------------------------------------------------------

void coordination::train(train_batch batch) {
  training_ = std::move(batch);
  effects_.train(*training_);
}

/// The scheduler has ended the step since the groups of its other parts were lost and there are no prompts for more: the
/// learner has to hear of it before it writes its checkpoint.
void coordination::end_step_without_groups() {
  if (open_step_ && scheduler_.at().step == open_step_->step)
    train(*std::exchange(open_step_, std::nullopt));
}

void coordination::trained(const batch_report& report, double now) {
  if (!training_ || training_->step != report.step || training_->part != report.part)
    return;
  const auto batch = *std::exchange(training_, std::nullopt);
  const auto step = static_cast<std::uint32_t>(report.step - 1);
  if (report.interrupted) {
    act(schedule::training_lost{step, report.part}, now);
    return;
  }
  effects_.batch_done(report, batch.groups);
  for (const auto group : batch.groups)
    groups_.erase(group);
  open_step_.reset();
  if (batch.ends_step) {
    // Before the scheduler asks for the next step: by PO-1 the policy then still holds these weights.
    if (const auto version = static_cast<std::uint32_t>(report.step); evaluations_.reached(version, false))
      publish_for_evaluation(version);
    advance_evaluations();
  } else {
    open_step_ = train_batch{report.step, batch.version, {}, report.part + 1};
  }
  if (!batch.groups.empty())
    act(schedule::batch_trained{step, report.trained_tokens, report.masked_tokens, report.part}, now);
}

// -- evaluations -----------------------------------------------------------------------------------------------------

/// The scheduler may ask for the same version later, or never.
void coordination::publish_for_evaluation(std::uint32_t version) {
  publishing_for_evaluation_ = version;
  if (!policy_node_)
    return;
  effects_.hold_weights({version, true});
  effects_.publish(version);
}

void coordination::advance_evaluations() {
  for (const auto& [who, what] : evaluations_.take_starts())
    effects_.evaluate(who, what);
  for (const auto version : evaluations_.take_released())
    effects_.hold_weights({version, false});
  if (finishing_ && evaluations_.idle() && !std::exchange(finished_, true))
    effects_.finish(*finishing_);
}

bool coordination::evaluated(const role_instance& who, std::uint32_t version, bool figures) {
  const bool known = evaluations_.done(who, version, figures);
  advance_evaluations();
  return known;
}

void coordination::training_failed(const std::string& why) { effects_.fail("training failed: " + why); }

void coordination::published(const weights_published& what) {
  if (publishing_for_evaluation_ == what.version)
    publishing_for_evaluation_.reset();
  evaluations_.published(what.version, what.parameters);
  advance_evaluations();
  if (publishing_ != what.version)
    return;
  publishing_.reset();
  published_version_ = what.version;
  published_ = what.parameters;
  for (const auto worker : std::exchange(weights_wanted_, {}))
    if (auto* rollout = rollout_of(worker))
      effects_.send_weights(rollout->who, {what.version, published_, in_flight_update_});
}

void coordination::tell_version() {
  if (!policy_node_ || !published_version_)
    return;
  for (const auto worker : std::exchange(weights_wanted_, {}))
    if (auto* rollout = rollout_of(worker))
      effects_.send_weights(rollout->who, {*published_version_, {}, in_flight_update_});
}

void coordination::publishing_failed(std::uint32_t version, const std::string& why) {
  if (publishing_for_evaluation_ == version)
    publishing_for_evaluation_.reset();
  evaluations_.unpublished(version);
  advance_evaluations();
  if (publishing_ != version)
    return;
  publishing_.reset();
  weights_wanted_.clear();
  effects_.complain("version " + std::to_string(version) + " was not published: " + why);
}

void coordination::weights_are_live(const role_instance& who, std::uint32_t version, double now) {
  const auto found = rollouts_.find(who.name());
  weight_refusals_.erase(who.name());
  if (found != rollouts_.end() && found->second.who == who)
    act(schedule::version_acknowledged{found->second.worker, version}, now);
}

void coordination::weights_failed(const role_instance& who, std::uint32_t version, const std::string& why) {
  const auto found = rollouts_.find(who.name());
  if (found == rollouts_.end() || found->second.who != who || published_version_ != version || publishing_)
    return; // a newer version is on its way, or the rollout is gone
  if (++weight_refusals_[who.name()] == allowed_weight_refusals) {
    effects_.fail(who.name() + " could not take version " + std::to_string(version) + " three times, the last one: " + why);
    return;
  }
  effects_.complain(who.name() + " could not take version " + std::to_string(version) + ": " + why + "; sending it again");
  effects_.send_weights(who, {version, published_, in_flight_update_});
}

void coordination::checkpointed(std::uint32_t step, double now) { act(schedule::checkpointed{step}, now); }

void coordination::holds(std::uint64_t node, const telemetry::holding& says, double now) {
  const auto is_from = [&](const std::map<std::string, live_role>& roles) {
    const auto found = roles.find(says.who);
    return found != roles.end() && found->second.node == node ? &found->second : nullptr;
  };
  const auto* rollout = is_from(rollouts_);
  const auto* stage = is_from(stages_);
  if (!rollout && !stage)
    return; // of an earlier life
  const auto who = rollout ? rollout->who : stage->who;
  std::vector<telemetry::expected_group> expected;
  for (const auto& [group, record] : groups_) {
    const auto at = record.at.find(who.role);
    const bool here = rollout ? record.rollout == who && record.asked > 0 : at != record.at.end() && at->second == who;
    if (!here)
      continue;
    if (const auto since_s = scheduler_.under_way_since_s(group, record.attempt))
      expected.push_back({{group, record.attempt}, rollout ? record.asked : record.asked_of.at(who.role), rollout ? "generating" : "in work", *since_s});
  }
  for (const auto& gone : vanished_.compare(says, expected)) {
    const auto& [group, attempt] = gone.expected.what;
    auto* record = current(group, attempt);
    if (!record)
      continue; // what was done about another one has changed it
    effects_.complain(telemetry::in_words(gone, now) + "; the attempt counts as lost");
    if (rollout) {
      record->rollout.reset(); // CO-4
      effects_.cancel(who, {group});
    } else {
      record->at.erase(who.role); // the request is still open: its deadline ends it
    }
    release_columns(*record);
    act(schedule::group_failed{group, attempt, true, 0, who.name() + " does not have it any more"}, now);
  }
}

void coordination::look_for_overdue(double now) {
  for (const auto& late : scheduler_.overdue(now)) {
    effects_.complain("group " + std::to_string(late.group) + " took longer than schedule.faults.call_deadline_s");
    act(late, now);
  }
  for (const auto& late : scheduler_.late_weights(now)) {
    if (const auto* rollout = rollout_of(late.worker))
      effects_.complain(rollout->who.name() + " did not run version " + std::to_string(late.version) +
                        " within schedule.publish.deadline_s: it is sent again, and rollouts that run it go on without this one");
    act(late, now);
  }
}

void coordination::stop(double now, bool in_haste) {
  if (in_haste) {
    hasty_ = true;
    evaluations_.cancel();
    advance_evaluations();
  }
  if (std::exchange(stopping_, true))
    return;
  if (training_)
    effects_.interrupt_training(training_->step);
  act(schedule::stop_requested{}, now);
}

// -- the scheduler's actions -----------------------------------------------------------------------------------------

void coordination::act(const schedule::event& event, double now) {
  events_.push_back(event);
  if (std::exchange(acting_, true))
    return; // an answer to an action: its turn comes when that event's actions are carried out
  for (; !events_.empty(); events_.pop_front())
    for (const auto& action : scheduler_.on(events_.front(), now))
      carry_out(action, now);
  acting_ = false;
  effects_.observe(scheduler_.at());
}

void coordination::carry_out(const schedule::action& action, double now) {
  if (const auto* a = std::get_if<schedule::admit>(&action)) {
    auto* rollout = rollout_of(a->worker);
    auto& record = groups_[a->group];
    const auto partial = a->resume ? std::exchange(record.partial, {}) : transport::ticket{};
    restart_record(record, a->attempt);
    record.partial = partial;
    record.oversampled = a->oversampled;
    if (rollout) {
      record.rollout = rollout->who;
      start_generation(a->group);
    }
  } else if (const auto* c = std::get_if<schedule::cancel>(&action)) {
    if (auto* rollout = rollout_of(c->worker))
      effects_.cancel(rollout->who, {c->group});
    if (auto* record = current(c->group, c->attempt)) {
      if (record->fetching)
        effects_.forget(c->group);
      restart_record(*record, c->attempt); // CO-4
    }
  } else if (const auto* i = std::get_if<schedule::interrupt>(&action)) {
    auto* record = current(i->group, i->attempt);
    auto* rollout = rollout_of(i->worker);
    if (record && record->row && rollout) {
      effects_.interrupt(rollout->who, {i->group, i->attempt});
    } else if (record && rollout) { // its prompt is not here yet: nobody was asked to generate it
      record->rollout.reset();
      act(schedule::group_interrupted{i->group, i->attempt, {}}, now);
    }
  } else if (const auto* b = std::get_if<schedule::cut>(&action)) {
    train({b->step + 1, b->step, b->groups, b->part, b->ends_step, mask_of(b->mask), b->train_from});
  } else if (const auto* p = std::get_if<schedule::publish>(&action)) {
    if (!graph_.publishes) {
      published_version_ = p->version;
      weights_wanted_.insert(p->workers.begin(), p->workers.end());
      tell_version();
      return;
    }
    if (published_version_ == p->version) {
      for (const auto worker : p->workers)
        if (auto* rollout = rollout_of(worker))
          effects_.send_weights(rollout->who, {p->version, published_, in_flight_update_});
      return;
    }
    weights_wanted_.insert(p->workers.begin(), p->workers.end());
    const bool asked = publishing_ == p->version || publishing_for_evaluation_ == p->version;
    publishing_ = p->version;
    if (!asked && policy_node_)
      effects_.publish(p->version);
  } else if (const auto* d = std::get_if<schedule::drop>(&action)) {
    ++dropped_;
    if (d->reason != schedule::drop_reason::unneeded && d->reason != schedule::drop_reason::zero_variance) {
      const auto* row = row_of(d->group);
      const auto where = row && !row->where.empty() ? row->where + ": " : std::string();
      effects_.complain(where + "group " + std::to_string(d->group) + " dropped: " + d->why);
    }
    if (const auto found = groups_.find(d->group); found != groups_.end()) {
      release_columns(found->second);
      if (found->second.fetching)
        effects_.forget(d->group);
      groups_.erase(found);
    }
  } else if (const auto* k = std::get_if<schedule::checkpoint>(&action)) {
    end_step_without_groups();
    effects_.checkpoint(k->step, k->state);
  } else if (const auto* f = std::get_if<schedule::finish>(&action)) {
    finishing_ = f->reason;
    if (const auto version = scheduler_.at().step; !hasty_ && evaluations_.ended(version))
      publish_for_evaluation(version);
    advance_evaluations();
  }
}

} // namespace millrace::actors
