#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::schedule {

/// What somebody waits for.
enum class wait_kind : std::uint8_t {
  groups,   ///< the learner, for a batch
  bound,    ///< the learner, although enough groups are ready: the staleness bound asks for an older one first
  turn,     ///< the learner, for generation to end: the two take turns
  columns,  ///< a group, for the roles after generation
  hand_over, ///< a group, for the worker that was asked for what it has so far
  worker,   ///< a group, for a place on a rollout worker
  weights,  ///< a rollout worker, for a version it was sent or must drain for
  gate,     ///< a rollout worker, for production to be allowed further ahead
  training, ///< the run, for the learner's step
  saving,   ///< the run, for its checkpoint
};

/// One wait with its name: `who` waits for `what`, on `on`, since `since_s` of the scheduler's time.
struct wait_record {
  std::string who;             ///< "learner", "rollout/0", "group 17", "run"
  wait_kind kind = wait_kind::groups;
  std::vector<std::string> on; ///< who could end it, by name; empty when it is nobody the scheduler knows
  std::string what;            ///< completes "<who> waits for"
  double since_s = 0;
};

std::string_view to_string(wait_kind kind);

/// "learner waits for 1 of 4 groups: 17 (generating on rollout/0 since 12.3 s); since 14.0 s, for 3.5 s"
std::string sentence(const wait_record& wait, double now_s);

} // namespace millrace::schedule
