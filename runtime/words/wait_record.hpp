#pragma once

#include "runtime/words/ids.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

/// Why somebody waits.
enum class wait_kind : std::uint8_t {
  other,     ///< a reason that no scheduler knows: `what` says it
  groups,    ///< the learner, for a batch
  bound,     ///< the learner, although enough groups are ready: the staleness bound asks for an older one first
  turn,      ///< the learner, for generation to end: the two take turns
  columns,   ///< a group, for the roles after generation
  hand_over, ///< a group, for the worker that was asked for what it has so far
  worker,    ///< a group, for a place on a rollout worker
  weights,   ///< a rollout worker, for a version it was sent or must drain for
  gate,      ///< a rollout worker, for production to be allowed further ahead
  training,  ///< the run, for the learner's step
  saving,    ///< the run, for its checkpoint
  cache,     ///< a rollout worker, for room in its bounded cache of keys and values
  replies,   ///< a rollout worker, for what environments say to the turns of its episodes
};

constexpr auto words_for(wait_kind) {
  return std::to_array<std::string_view>({"other", "groups", "bound", "turn", "columns", "hand_over", "worker",
                                          "weights", "gate", "training", "saving", "cache", "replies"});
}

/// One wait with its name: `who` waits for `what` on `on`. No wait without one of these.
struct wait_record {
  std::string who = {};             ///< "learner", "rollout/1", "group 17", "run"
  std::string what = {};            ///< completes "<who> waits for": "version 3"
  std::vector<std::string> on = {}; ///< who could end it, by name; empty: nobody in particular
  double since_s = 0;               ///< on the clock of whoever made the record
  double deadline_s = 0;            ///< seconds after `since_s` at which it counts as overdue; 0: none
  wait_kind kind = wait_kind::other;
  std::optional<group_id> group = {}; ///< the group that waits, where it is one
  /// The published weights that a rollout worker waits to run; none: no such wait.
  std::optional<version_id> version = {};

  bool operator==(const wait_record&) const = default;
};

} // namespace millrace
