#include "actors/coordinator/group_router.hpp"

#include <algorithm>

namespace millrace::actors {
group_router::group_router(group_graph graph, schedule::scheduler scheduler, std::uint64_t run_seed,
                           router_effects& effects)
    : graph_(std::move(graph)), scheduler_(std::move(scheduler)), run_seed_(run_seed), effects_(effects),
      evaluations_(graph_.evaluations) {
  if (const auto at = scheduler_.at(); at.part > 0) // goes on from a checkpoint within a step
    open_step_ = train_batch{.step = at.step + 1, .version = at.step, .groups = {}, .part = at.part};
}

// -- roles -----------------------------------------------------------------------------------------------------------

schedule::worker_id group_router::worker_number(const role_instance& who) {
  return worker_numbers_.emplace(who.name(), static_cast<schedule::worker_id>(worker_numbers_.size())).first->second;
}

group_router::live_role* group_router::generator_of(schedule::worker_id worker) {
  const auto found = by_worker_.find(worker);
  return found == by_worker_.end() ? nullptr : &generators_.at(found->second);
}

void group_router::generator_up(const role_instance& who, node_id node, generator_place place, double now) {
  const auto worker = worker_number(who);
  generators_[who.name()] = {.who = who, .node = node, .worker = worker};
  by_worker_[worker] = who.name();
  vanished_.forget(who.name());
  act(schedule::worker_joined{worker, place.capacity_groups, std::nullopt, who.name(), place.lent}, now);
}

void group_router::adder_up(const role_instance& who, std::uint64_t node) {
  adders_[who.name()] = {.who = who, .node = node};
  vanished_.forget(who.name());
  for (auto& [group, record] : groups_)
    if (record.waiting.erase(who.role) > 0)
      hand_to_adder(group, who.role);
}

void group_router::leader_up(node_id node) {
  leader_node_ = node;
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

void group_router::evaluation_up(const role_instance& who, std::uint64_t node) {
  evaluations_.up(who, node);
  advance_evaluations();
}

void group_router::node_gone(node_id node, double now) {
  for (const auto& who : evaluations_.gone(node))
    effects_.complain(who.name() + " is gone: what it was evaluating is lost, nothing else");
  advance_evaluations();
  const auto lost_workers = remove_generators(node);
  const auto lost_adders = remove(adders_, node);
  const auto lost_environments = remove(environments_, node);
  std::vector<group_attempt> lost_groups, lost_episodes;
  std::vector<std::pair<group_id, std::string>> work_again;
  for (auto& [group, record] : groups_) {
    if (record.environment && lost_environments.contains(record.environment->name())) { // CO-8
      record.environment.reset();
      if (!record.generator) {
        lost_groups.push_back({group, record.attempt});
        continue;
      }
      if (generators_.contains(record.generator->name())) {
        effects_.cancel(*record.generator, {group});
        lost_episodes.push_back({group, record.attempt});
      }
      record.generator.reset();
      continue;
    }
    if (record.generator) {
      if (!generators_.contains(record.generator->name()))
        record.generator.reset(); // CO-4: an answer that is still on its way comes too late
      continue;
    }
    if (record.fetched)
      continue;
    if (record.has_columns_of(node)) { // not fetched yet: the group is generated again
      lost_groups.push_back({group, record.attempt});
      continue;
    }
    for (const auto& [role, who] : record.at)
      if (lost_adders.contains(who.name()))
        work_again.emplace_back(group, role);
  }
  for (const auto worker : lost_workers)
    act(schedule::worker_lost{worker}, now);
  for (const auto& lost : lost_groups)
    if (auto* record = current(lost.group, lost.attempt)) {
      release_columns(*record);
      act(schedule::group_lost{lost.group, lost.attempt}, now);
    }
  for (const auto& [group, attempt] : lost_episodes)
    if (current(group, attempt))
      act(schedule::group_failed{group, attempt, true, 0, "the process that played its episodes is gone"}, now);
  for (const auto& [group, role] : work_again)
    if (const auto found = groups_.find(group); found != groups_.end() && found->second.at.erase(role) > 0)
      hand_to_adder(group, role);
}

std::vector<ticket> group_router::group_record::all_columns() const {
  auto all = columns;
  if (row)
    all.insert(all.begin(), row->columns);
  return all;
}

bool group_router::group_record::has_columns_of(node_id node) const {
  return (partial.id != 0 && partial.owner == node)
         || std::any_of(columns.begin(), columns.end(), [&](const auto& t) { return t.owner == node; });
}

std::vector<schedule::worker_id> group_router::remove_generators(node_id node) {
  std::vector<schedule::worker_id> lost;
  std::erase_if(generators_, [&](const auto& entry) {
    if (entry.second.node != node)
      return false;
    lost.push_back(entry.second.worker);
    by_worker_.erase(entry.second.worker);
    return true;
  });
  return lost;
}

std::set<std::string> group_router::remove(std::map<std::string, live_role>& roles, node_id node) {
  std::set<std::string> lost;
  std::erase_if(roles, [&](const auto& entry) {
    if (entry.second.node != node)
      return false;
    lost.insert(entry.first);
    return true;
  });
  return lost;
}

group_router::live_role* group_router::least_busy(std::map<std::string, live_role>& roles, const std::string& role) {
  live_role* least = nullptr;
  for (auto& [name, copy] : roles)
    if (copy.who.role == role && (!least || copy.busy < least->busy))
      least = &copy;
  return least;
}

// -- groups ----------------------------------------------------------------------------------------------------------

group_router::group_record* group_router::current(std::uint64_t group, std::uint32_t attempt) {
  const auto found = groups_.find(group);
  return found != groups_.end() && found->second.attempt == attempt ? &found->second : nullptr;
}

const prompt_row* group_router::row_of(std::uint64_t group) const {
  const auto found = groups_.find(group);
  return found != groups_.end() && found->second.row ? &*found->second.row : nullptr;
}

std::vector<std::string> group_router::working_on(std::uint64_t group) const {
  std::vector<std::string> names;
  const auto found = groups_.find(group);
  if (found == groups_.end())
    return names;
  for (const auto& [role, who] : found->second.at)
    names.push_back(who.name());
  names.insert(names.end(), found->second.waiting.begin(), found->second.waiting.end());
  if (found->second.fetching && !found->second.fetched)
    names.push_back(graph_.leader);
  return names;
}

std::string group_router::answered_by(std::uint64_t group) const {
  const auto found = groups_.find(group);
  if (found != groups_.end() && graph_.generators.size() > 1)
    for (const auto& role : found->second.done)
      if (graph_.generators.contains(role))
        return role;
  return "";
}

std::map<std::string, summed> group_router::summary_of(std::uint64_t group) const {
  const auto found = groups_.find(group);
  return found != groups_.end() ? found->second.summary : std::map<std::string, summed>{};
}

void group_router::start_generation(std::uint64_t group) {
  auto& record = groups_.at(group);
  if (!record.row) {
    if (asked_prompts_.insert(group).second)
      effects_.take_prompt(group);
    return;
  }
  episode_place played;
  if (const auto plays = graph_.environments.find(record.generator->role); plays != graph_.environments.end()) {
    if (!find_environment(record, plays->second))
      return;
    played = environments_.at(record.environment->name()).place;
    played.since = record.episodes_since;
  }
  if (const auto asked = generators_.find(record.generator->name()); asked != generators_.end())
    record.asked = ++asked->second.asked;
  const auto answers = graph_.generators.at(record.generator->role);
  const auto started =
      record.oversampled ? schedule::answers_started(scheduler_.settings(), static_cast<std::uint32_t>(answers)) : 0;
  effects_.generate(*record.generator, {.group = group,
                                        .attempt = record.attempt,
                                        .columns = record.row->columns,
                                        .answers = answers,
                                        .seed = roles::group_seed(run_seed_, group),
                                        .partial = record.partial,
                                        .started = static_cast<std::int32_t>(started),
                                        .played = played});
}

void group_router::prompt_arrived(const prompt_row& row, double now) {
  asked_prompts_.erase(row.index);
  if (row.skipped_rows > 0)
    effects_.complain(std::to_string(row.skipped_rows)
                      + (row.skipped_rows == 1 ? " row skipped: " : " rows skipped, the first: ") + row.skipped_first);
  if (row.exhausted) {
    act(schedule::prompts_exhausted{row.index}, now);
    return;
  }
  const auto found = groups_.find(row.index);
  if (found == groups_.end()) {
    effects_.release({row.columns});
    return;
  }
  found->second.row = row;
  if (found->second.generator)
    start_generation(row.index);
}

void group_router::generation_refused(group_attempt what, const refused_group& how, double now) {
  if (current(what.group, what.attempt))
    act(schedule::group_failed{what.group, what.attempt, how.retryable, 0, how.why}, now);
}

void group_router::generation_accepted(std::uint64_t group, std::uint32_t attempt) {
  if (auto* record = current(group, attempt); record && record->generator && record->partial.id != 0)
    effects_.release({std::exchange(record->partial, {})});
}

void group_router::interrupted(const group_interrupted& what, double now) {
  auto* record = current(what.group, what.attempt);
  if (!record || record->generator != what.from) {
    effects_.release({what.partial}); // CO-4
    return;
  }
  record->generator.reset();
  if (const auto before = std::exchange(record->partial, what.partial); before.id != 0)
    effects_.release({before});
  schedule::group_interrupted event{what.group, what.attempt, {}};
  for (const auto& [version, tokens] : what.tokens)
    event.tokens.add(version, tokens);
  act(event, now);
}

void group_router::generated(const group_generated& what, double now) {
  auto* record = current(what.group, what.attempt);
  if (!record || record->generator != what.from) {
    effects_.release({what.columns}); // CO-4
    return;
  }
  record->generator.reset();
  end_episodes(what.group, *record);
  record->done.insert(what.from.role);
  record->columns.push_back(what.columns);
  schedule::group_finished event{.group = what.group,
                                 .attempt = what.attempt,
                                 .tokens = {},
                                 .baseline_tokens = what.baseline_tokens,
                                 .answers = {},
                                 .surplus_tokens = what.surplus_tokens};
  for (const auto& [version, tokens] : what.tokens)
    event.tokens.add(version, tokens);
  for (const auto& [version, tokens] : what.answers)
    event.answers.add(version, tokens);
  act(event, now);
  advance(what.group);
}

bool group_router::ready_for(const group_record& record, const std::vector<std::string>& from) const {
  // A role that reads from several generator roles reads from the one that generated this group.
  return std::all_of(from.begin(), from.end(), [&](const std::string& role) {
    return record.done.contains(role)
           || (graph_.generators.contains(role)
               && std::any_of(record.done.begin(), record.done.end(),
                              [&](const auto& done) { return graph_.generators.contains(done); }));
  });
}

void group_router::advance(std::uint64_t group) {
  const auto found = groups_.find(group);
  if (found == groups_.end() || found->second.generator)
    return;
  auto& record = found->second;
  for (const auto& adder : graph_.adders)
    if (!record.done.contains(adder.role) && !record.at.contains(adder.role) && !record.waiting.contains(adder.role)
        && ready_for(record, adder.from))
      hand_to_adder(group, adder.role);
  if (!record.fetching && ready_for(record, graph_.leader_from)) {
    record.fetching = true;
    effects_.fetch({.group = group,
                    .attempt = record.attempt,
                    .columns = record.all_columns(),
                    .domain = record.row ? record.row->data_source : std::string()});
  }
}

void group_router::hand_to_adder(std::uint64_t group, const std::string& role) {
  auto& record = groups_.at(group);
  live_role* least = least_busy(adders_, role);
  if (!least) {
    record.waiting.insert(role);
    return;
  }
  ++least->busy;
  record.at[role] = least->who;
  record.asked_of[role] = ++least->asked;
  effects_.process(least->who, {.group = group, .attempt = record.attempt, .columns = record.all_columns()});
}

void group_router::processed(const role_instance& adder, const group_columns& what, double now) {
  if (const auto at = adders_.find(adder.name()); at != adders_.end() && at->second.who == adder)
    --at->second.busy;
  auto* record = current(what.group, what.attempt);
  const auto at_work = record ? record->at.find(adder.role) : decltype(record->at.find(adder.role)){};
  if (!record || at_work == record->at.end() || at_work->second != adder) {
    effects_.release({what.columns});
    return;
  }
  record->at.erase(at_work);
  if (!what.complaint.empty()) {
    effects_.release({what.columns});
    act(schedule::group_failed{what.group, what.attempt, false, 0, adder.role + ": " + what.complaint}, now);
    return;
  }
  record->done.insert(adder.role);
  record->columns.push_back(what.columns);
  record->summary.insert(what.summary.begin(), what.summary.end());
  advance(what.group);
}

void group_router::processing_failed(const role_instance& adder, group_attempt what, const std::string& why,
                                     double now) {
  const auto [group, attempt] = what;
  if (const auto at = adders_.find(adder.name()); at != adders_.end() && at->second.who == adder)
    --at->second.busy;
  auto* record = current(group, attempt);
  if (!record)
    return;
  const auto at_work = record->at.find(adder.role);
  if (at_work == record->at.end() || at_work->second != adder)
    return;
  record->at.erase(at_work);
  effects_.complain(adder.name() + " could not process group " + std::to_string(group) + ": " + why);
  release_columns(*record);
  act(schedule::group_failed{group, attempt, true, 0, adder.name() + ": " + why}, now);
}

void group_router::fetched(const group_fetched& what, double now) {
  auto* record = current(what.group, what.attempt);
  if (!record || !record->fetching) {
    return;
  }
  record->fetched = true;
  if (!graph_.columns_stay)
    release_columns(*record);
  if (!what.complaint.empty())
    act(schedule::group_failed{what.group, what.attempt, false, 0, graph_.leader + ": " + what.complaint}, now);
  else if (what.flat)
    act(schedule::group_flat{what.group, what.attempt}, now);
  else
    act(schedule::group_ready{what.group, what.attempt}, now);
}

void group_router::fetch_failed(group_attempt what, const std::string& why, double now) {
  const auto [group, attempt] = what;
  auto* record = current(group, attempt);
  if (!record || record->fetched)
    return;
  effects_.complain(graph_.leader + " could not fetch group " + std::to_string(group) + ": " + why);
  release_columns(*record);
  act(schedule::group_lost{group, attempt}, now);
}

void group_router::release_columns(group_record& record) {
  if (record.partial.id != 0)
    record.columns.push_back(std::exchange(record.partial, {}));
  if (!record.columns.empty())
    effects_.release(record.columns);
  record.columns.clear();
}

/// The group is trained or dropped, so its prompt is not needed again.
void group_router::forget_group_record(group_id group) {
  const auto found = groups_.find(group);
  if (found == groups_.end())
    return;
  release_columns(found->second);
  end_episodes(group, found->second);
  if (found->second.row)
    effects_.release({found->second.row->columns});
  groups_.erase(found);
}

void group_router::restart_record(group_id group, group_record& record, std::uint32_t attempt) {
  release_columns(record);
  end_episodes(group, record);
  std::optional<prompt_row> row = std::move(record.row);
  record = {};
  record.row = std::move(row);
  record.attempt = attempt;
}

void group_router::holds(std::uint64_t node, const telemetry::in_flight_report& says, double now) {
  const auto is_from = [&](const std::map<std::string, live_role>& roles) {
    const auto found = roles.find(says.who);
    return found != roles.end() && found->second.node == node ? &found->second : nullptr;
  };
  const auto* generator = is_from(generators_);
  const auto* adder = is_from(adders_);
  if (!generator && !adder)
    return; // of an earlier life
  const auto who = generator ? generator->who : adder->who;
  std::vector<telemetry::expected_group> expected;
  for (const auto& [group, record] : groups_) {
    const auto at = record.at.find(who.role);
    const bool here =
        generator ? record.generator == who && record.asked > 0 : at != record.at.end() && at->second == who;
    if (!here)
      continue;
    if (const auto since_s = scheduler_.under_way_since_s(group, record.attempt))
      expected.push_back({{group, record.attempt},
                          generator ? record.asked : record.asked_of.at(who.role),
                          generator ? "generating" : "in work",
                          *since_s});
  }
  for (const auto& gone : vanished_.compare(says, expected)) {
    const auto& [group, attempt] = gone.expected.what;
    auto* record = current(group, attempt);
    if (!record)
      continue; // an earlier turn of this loop has already dealt with this group
    effects_.complain(telemetry::in_words(gone, now) + "; the attempt counts as lost");
    if (generator) {
      record->generator.reset(); // CO-4
      effects_.cancel(who, {group});
    } else {
      record->at.erase(who.role); // the request is still open: its deadline ends it
    }
    release_columns(*record);
    act(schedule::group_failed{group, attempt, true, 0, who.name() + " does not have it any more"}, now);
  }
}

void group_router::look_for_overdue(double now) {
  for (const auto& late : scheduler_.overdue(now)) {
    effects_.complain("group " + std::to_string(late.group) + " took longer than schedule.faults.call_deadline_s");
    act(late, now);
  }
  for (const auto& late : scheduler_.late_weights(now)) {
    if (const auto* generator = generator_of(late.worker))
      effects_.complain(
          generator->who.name() + " did not run version " + std::to_string(late.version)
          + " within schedule.publish.deadline_s: the weights are sent again, and the other rollouts go on without it");
    act(late, now);
  }
}

void group_router::want_checkpoint(double now) {
  act(schedule::checkpoint_wanted{}, now);
}

void group_router::stop(double now, haste how) {
  if (how == haste::some) {
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

} // namespace millrace::actors
