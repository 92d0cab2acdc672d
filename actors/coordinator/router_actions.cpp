#include "actors/coordinator/group_router.hpp"

#include <utility>
#include <variant>

/// What `group_router` does for each action of the scheduler.
namespace millrace::actors {

// -- the scheduler's actions -----------------------------------------------------------------------------------------

void group_router::act(const schedule::event& event, double now) {
  events_.push_back(event);
  if (std::exchange(acting_, true))
    return; // an action of the current event caused this event; it waits until the current event's actions are done
  for (; !events_.empty(); events_.pop_front())
    for (const auto& action : scheduler_.on(events_.front(), now))
      std::visit([&](const auto& a) { carry_out(a, now); }, action);
  acting_ = false;
  effects_.observe(scheduler_.at());
}

void group_router::carry_out(const schedule::admit& a, double) {
  auto* generator = generator_of(a.worker);
  auto& record = groups_[a.group];
  const auto partial = a.resume ? std::exchange(record.partial, {}) : ticket{};
  const auto environment = partial.id != 0 ? std::exchange(record.environment, {}) : std::nullopt;
  const auto since = record.episodes_since;
  restart_record(a.group, record, a.attempt);
  record.partial = partial;
  record.environment = environment;
  record.episodes_since = since;
  record.oversampled = a.oversampled;
  if (generator) {
    record.generator = generator->who;
    start_generation(a.group);
  }
}

void group_router::carry_out(const schedule::cancel& c, double) {
  if (auto* generator = generator_of(c.worker))
    effects_.cancel(generator->who, {c.group});
  if (auto* record = current(c.group, c.attempt)) {
    if (record->fetching)
      effects_.forget(c.group);
    restart_record(c.group, *record, c.attempt); // CO-4
  }
}

void group_router::carry_out(const schedule::interrupt& i, double now) {
  auto* record = current(i.group, i.attempt);
  auto* generator = generator_of(i.worker);
  if (record && record->row && generator) {
    effects_.interrupt(generator->who, {i.group, i.attempt});
  } else if (record && generator) { // the source has not given the prompt yet, so no rollout has the group
    record->generator.reset();
    act(schedule::group_interrupted{i.group, i.attempt, {}}, now);
  }
}

void group_router::carry_out(const schedule::cut& b, double) {
  train({.step = b.step + 1,
         .version = b.step,
         .groups = b.groups,
         .part = b.part,
         .ends_step = b.ends_step,
         .mask = b.mask,
         .train_from = b.train_from});
}

void group_router::carry_out(const schedule::publish& p, double) {
  if (!graph_.publishes) {
    published_version_ = p.version;
    weights_wanted_.insert(p.workers.begin(), p.workers.end());
    tell_version();
    return;
  }
  if (published_version_ == p.version) {
    for (const auto worker : p.workers)
      send_weights(worker, p.version, published_);
    return;
  }
  weights_wanted_.insert(p.workers.begin(), p.workers.end());
  if (kept_for_rollouts_ != p.version)
    let_go_of_rollouts_version(); // before its successor needs the room
  const bool asked = publishing_ == p.version || publishing_for_evaluation_ == p.version;
  publishing_ = p.version;
  if (!asked && leader_node_)
    effects_.publish(p.version);
}

void group_router::carry_out(const schedule::drop& d, double) {
  ++dropped_;
  if (d.reason != schedule::drop_reason::unneeded && d.reason != schedule::drop_reason::zero_variance) {
    const auto* row = row_of(d.group);
    const auto where = row && !row->where.empty() ? row->where + ": " : std::string();
    last_drop_ = where + "group " + std::to_string(d.group) + " dropped: " + d.why;
    // The first of a reason is said at once, the others in one line when the step ends.
    if (dropped_since_step_[d.reason]++ == 0)
      effects_.complain(last_drop_);
  }
  if (const auto found = groups_.find(d.group); found != groups_.end() && found->second.fetching)
    effects_.forget(d.group);
  forget_group_record(d.group);
}

void group_router::sum_up_drops() {
  for (const auto& [reason, count] : std::exchange(dropped_since_step_, {}))
    if (count > 1)
      effects_.complain(std::to_string(count - 1) + " more " + (count == 2 ? "group" : "groups")
                        + " dropped in this step (" + std::string(to_string(reason)) + ")");
}

void group_router::carry_out(const schedule::checkpoint& k, double) {
  end_step_without_groups();
  effects_.checkpoint(k.step, k.state);
}

void group_router::carry_out(const schedule::finish& f, double) {
  sum_up_drops();
  finishing_ = f;
  if (const auto version = scheduler_.at().step; !hasty_ && evaluations_.ended(version))
    publish_for_evaluation(version);
  advance_evaluations();
}

} // namespace millrace::actors
