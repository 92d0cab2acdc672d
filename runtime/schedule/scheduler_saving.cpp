#include "runtime/schedule/saved_state.hpp"
#include "runtime/schedule/scheduler.hpp"
#include "runtime/words/input_error.hpp"

#include <map>

namespace millrace::schedule {

namespace {

/// What a run may change when it goes on: how long it is, and what it does about faults.
bool may_change(const std::string& path) {
  return path == "steps" || path == "checkpoint_every" || path == "flat_groups_per_step" || path == "publish.deadline_s"
         || path == "faults.attempts" || path == "faults.data_attempts" || path == "faults.consecutive_losses"
         || path == "faults.call_deadline_s" || path == "faults.learner";
}

/// "gate.depth 1, now 2; ...": the fields that must not change between save and restore, and did.
std::string differences(const config& saved, const config& wanted) {
  std::map<std::string, std::string> before;
  each_field(saved, [&](const std::string& path, const auto& field, const limits&, const char*) {
    before[path] = field_text(field);
  });
  std::string text;
  each_field(wanted, [&](const std::string& path, const auto& field, const limits&, const char*) {
    const auto now = field_text(field);
    if (!may_change(path) && before[path] != now)
      text += (text.empty() ? "" : "; ") + path + ' ' + before[path] + ", now " + now;
  });
  return text;
}

} // namespace

std::string scheduler::save() const {
  saved_state state;
  state.settings = config_;
  state.step = step_;
  state.prompts = prompts_;
  state.stale = staleness_;
  state.books = ledger_.sums();
  const auto live = ledger_.live();
  const auto parked = ledger_.live(group_state::parked).groups;
  state.part = part_;
  state.reclaim_at = reclaim_at_;
  state.books.lost += live.tokens;
  state.books.live = {};
  state.books.live[static_cast<std::size_t>(group_state::queued)].groups = live.groups - parked;
  state.books.live[static_cast<std::size_t>(group_state::parked)].groups = parked;
  groups_.each([&](group_id id, const group& one) {
    const auto found = lost_attempts_.find(id);
    const auto lost = found != lost_attempts_.end() ? found->second : lost_attempts{};
    state.groups.push_back({id, one.attempt, lost.infrastructure, lost.data, one.state == group_state::parked});
  });
  return write(state);
}

scheduler scheduler::restore(const config& wanted, std::string_view text) {
  scheduler result(wanted);
  const auto state = read_saved_state(text);
  if (const auto changed = differences(state.settings, wanted); !changed.empty())
    throw input_error("schedule state: saved under another schedule (" + changed + "), want the same");
  if (state.step > wanted.steps)
    throw input_error("schedule state: " + std::to_string(state.step)
                      + " steps are trained, want a run of at least as many, got " + std::to_string(wanted.steps));
  result.step_ = state.step;
  result.part_ = state.part;
  result.reclaim_at_ = state.reclaim_at;
  result.version_ = state.step;
  result.published_ = state.step;
  result.first_version_ = result.version_;
  result.prompts_ = state.prompts;
  result.staleness_ = state.stale;
  result.ledger_ = ledger(state.books);
  result.checkpoint_asked_ = state.step;
  result.checkpoint_saved_ = state.step;
  for (const auto& one : state.groups) {
    auto& live = result.groups_.insert(one.id);
    live.attempt = one.attempt;
    if (one.failures + one.data_failures > 0)
      result.lost_attempts_[one.id] = {one.failures, one.data_failures};
    if (one.parked) {
      live.state = group_state::parked;
      result.parked_.insert(one.id);
    } else {
      result.queued_.insert(result.queued_.end(), one.id);
      result.rule_.queue(one.id);
    }
  }
  return result;
}

} // namespace millrace::schedule
