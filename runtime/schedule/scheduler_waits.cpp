#include "runtime/schedule/scheduler.hpp"

#include <algorithm>
#include <cstdio>

namespace millrace::schedule {

namespace {

constexpr std::size_t groups_named = 8; ///< of those that one wait is about

std::string seconds(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", value);
  return text;
}

std::string counted(std::size_t count, const std::string& thing) {
  return std::to_string(count) + ' ' + thing + (count == 1 ? "" : "s");
}

void add_once(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end())
    names.push_back(name);
}

} // namespace

std::string_view to_string(wait_kind kind) {
  switch (kind) {
    case wait_kind::groups: return "groups";
    case wait_kind::bound: return "bound";
    case wait_kind::columns: return "columns";
    case wait_kind::worker: return "worker";
    case wait_kind::weights: return "weights";
    case wait_kind::gate: return "gate";
    case wait_kind::training: return "training";
    case wait_kind::saving: return "saving";
  }
  return "unknown";
}

std::string sentence(const wait_record& wait, double now_s) {
  return wait.who + " waits for " + wait.what + "; since " + seconds(wait.since_s) + ", for " + seconds(now_s - wait.since_s);
}

std::vector<wait_record> scheduler::waits() const {
  std::vector<wait_record> result;
  if (phase_ == phase::finished)
    return result;
  explain_run(result);
  if (phase_ != phase::running)
    return result;
  if (!training_)
    explain_learner(result);
  explain_groups(result);
  explain_workers(result);
  return result;
}

void scheduler::explain_run(std::vector<wait_record>& out) const {
  if (phase_ == phase::saving)
    out.push_back({"run", wait_kind::saving, {"learner"}, "the checkpoint of step " + std::to_string(step_), learner_since_s_});
  if (training_)
    out.push_back({"run",
                   wait_kind::training,
                   {"learner"},
                   "the learner to train step " + std::to_string(step_) + " (" + counted(training_->groups.size(), "group") + ", " +
                       counted(static_cast<std::size_t>(training_->tokens), "token") + ")",
                   training_->since_s});
  if (phase_ == phase::running && workers_.empty() && (!queued_.empty() || more_to_start()))
    out.push_back({"run", wait_kind::worker, {}, "a rollout worker: there is none", learner_since_s_});
}

std::string scheduler::where_is(group_id id) const {
  const auto& one = groups_.at(id);
  std::string place(to_string(one.state));
  if (one.state == group_state::generating)
    place += " on " + workers_.at(one.worker).name;
  return std::to_string(id) + " (" + place + " since " + seconds(one.since_s) + ")";
}

void scheduler::explain_learner(std::vector<wait_record>& out) const {
  const auto full = std::size_t{config_.groups_per_step};
  const auto size = no_more_groups() ? std::min(full, rule_.live()) : full;
  const auto blocked = rule_.blocked(step_, groups_named);
  wait_record wait{"learner", blocked.bound ? wait_kind::bound : wait_kind::groups, {}, {}, learner_since_s_};
  std::string names;
  for (const auto id : blocked.groups) {
    const auto& one = groups_.at(id);
    names += (names.empty() ? "" : ", ") + where_is(id);
    add_once(wait.on, one.state == group_state::generating ? workers_.at(one.worker).name : "group " + std::to_string(id));
  }
  const auto unstarted = size > rule_.live() ? size - rule_.live() : 0;
  const auto missing = std::min(blocked.count, size);
  if (blocked.bound)
    wait.what = counted(missing, "more group") + " though " + std::to_string(rule_.ready()) +
                " are ready, so that none gets older than " + counted(config_.stale_max, "version") + ": " + names;
  else
    wait.what = std::to_string(missing) + " of " + counted(size, "group") + (names.empty() ? "" : ": " + names);
  if (unstarted > 0)
    wait.what += (names.empty() ? ": " : ", ") + std::to_string(unstarted) + " not started";
  out.push_back(std::move(wait));
}

void scheduler::explain_groups(std::vector<wait_record>& out) const {
  std::map<group_state, std::pair<std::size_t, group_id>> oldest; // how many, and the one that waits longest
  for (const auto id : live_ids()) {
    const auto& one = groups_.at(id);
    const auto [where, first] = oldest.try_emplace(one.state, 0, id);
    ++where->second.first;
    if (!first && one.since_s < groups_.at(where->second.second).since_s)
      where->second.second = id;
  }
  const auto explain = [&](group_state state, wait_kind kind, const std::string& what, std::vector<std::string> on) {
    const auto found = oldest.find(state);
    if (found == oldest.end())
      return;
    const auto [count, id] = found->second;
    out.push_back({"group " + std::to_string(id), kind, std::move(on),
                   what + (count > 1 ? ", with " + counted(count - 1, "more group") : ""), groups_.at(id).since_s});
  };
  std::vector<std::string> names;
  for (const auto& [id, one] : workers_)
    if (names.size() < groups_named)
      names.push_back(one.name);
  explain(group_state::queued, wait_kind::worker, "a place on a rollout worker", std::move(names));
  explain(group_state::finished, wait_kind::columns, "the columns that the learner needs", {});
}

void scheduler::explain_workers(std::vector<wait_record>& out) const {
  std::vector<std::string> behind; // who keeps v from being the learner's version
  for (const auto& [id, one] : workers_)
    if (one.member && *one.holds == version_ && version_ < step_ && behind.size() < groups_named)
      behind.push_back(one.name);
  for (const auto& [id, one] : workers_) {
    if (one.flipping()) {
      const auto runs = one.holds ? "it runs " + std::to_string(*one.holds) : "it has no weights";
      if (!config_.in_flight_update && !one.running.empty())
        out.push_back({one.name, wait_kind::weights, {one.name},
                       "its " + counted(one.running.size(), "running group") + " to end before it takes version " +
                           std::to_string(*one.sent) + " (" + runs + "): " + where_is(*one.running.begin()),
                       one.since_s});
      else
        out.push_back({one.name, wait_kind::weights, {"learner", one.name},
                       "version " + std::to_string(*one.sent) + " (" + runs + ")", one.since_s});
    } else if (one.offered > 0 && more_to_start()) {
      const auto next = version_ < step_ ? "every worker to run version " + std::to_string(version_ + 1)
                                         : "the learner to finish step " + std::to_string(step_);
      out.push_back({one.name, wait_kind::gate, version_ < step_ ? behind : std::vector<std::string>{"learner"},
                     next + " before it starts more: " + counted(groups_.size(), "group") + " live, " +
                         counted(static_cast<std::size_t>(ledger_.trained().groups), "group") + " trained",
                     std::max(one.since_s, version_since_s_)});
    }
  }
}

} // namespace millrace::schedule
