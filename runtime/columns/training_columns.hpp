#pragma once

#include "runtime/columns/column_set.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/train/training_group.hpp"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace millrace::columns {

/// How a pipeline makes training groups of columns, for policy and critic.
struct training_rules {
  /// Answers that were cut off keep their reward and lose their tokens, so they take no part in the loss.
  bool mask_truncated = false;
  /// The policy's `rewards`. If it is empty, the column `reward` is the reward. Otherwise each entry becomes one of the
  /// group's `parts`, and the group's reward is their weighted sum until a step mixes the parts.
  std::vector<pipeline::reward_part_table> rewards = {};
  bool turn_credit = false; ///< each turn of an episode has an advantage of its own
};

training_rules training_rules_of(const pipeline::pipeline& p);

/// So many answers of a group have no score that the others teach nothing.
struct too_few_scored : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The training columns of one group. A greedy answer becomes the group's baseline and is no answer of it. An answer
/// whose reward is NaN has no score: it is no answer of the group either, and its tokens count as masked.
/// @param domain of the row
/// @throws too_few_scored where an answer has no score and fewer than two others have one; std::exception naming the
/// column that is missing or of another length
train::training_group training_group_of(std::uint64_t id, const column_set& columns, const training_rules& rules = {},
                                        std::string domain = {});

/// Whether all rewards of a group are the same, those of turns with `turn_credit` too: nothing to learn from.
bool is_flat(const train::training_group& group);

} // namespace millrace::columns
