#include "actors/coordinator/group_router.hpp"

#include <utility>

/// Groups whose answers are episodes, and who plays them.
namespace millrace::actors {

void group_router::environment_up(const role_instance& who, node_id node, const episode_place& place, double) {
  environments_[who.name()] = {.who = who, .node = node, .place = place};
  for (auto& [group, record] : groups_)
    if (record.generator && std::exchange(record.waits_for_environment, false))
      start_generation(group);
}

bool group_router::find_environment(group_record& record, const std::string& role) {
  if (record.environment)
    return true;
  live_role* least = least_busy(environments_, role);
  record.waits_for_environment = !least;
  if (!least)
    return false;
  ++least->busy;
  record.environment = least->who;
  record.episodes_since = record.attempt;
  return true;
}

void group_router::end_episodes(std::uint64_t group, group_record& record) {
  const auto who = std::exchange(record.environment, {});
  const auto live = who ? environments_.find(who->name()) : environments_.end();
  if (live == environments_.end() || live->second.who != *who)
    return;
  --live->second.busy;
  effects_.end_episodes(*who, {.group = group, .since = record.episodes_since});
}

void group_router::generation_lost(const millrace::generation_lost& what, double now) {
  auto* record = current(what.group, what.attempt);
  if (!record || record->generator != what.from)
    return; // CO-4
  record->generator.reset();
  release_columns(*record);
  end_episodes(what.group, *record);
  act(schedule::group_failed{what.group, what.attempt, true, what.tokens, what.from.name() + ": " + what.why}, now);
}

} // namespace millrace::actors
