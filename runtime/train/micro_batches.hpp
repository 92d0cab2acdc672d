#pragma once

#include "algorithms/aggregation.hpp"
#include "algorithms/algorithm.hpp"
#include "runtime/model/packed_sequences.hpp"
#include "runtime/train/training_group.hpp"
#include "runtime/words/micro_batch_cut.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace millrace::train {

/// What one forward pass computes.
struct micro_batch {
  std::vector<group_part> parts;
  std::int64_t fed_tokens = 0;   ///< rows: prompts and all but the last token of each answer
  std::int64_t first_token = 0;  ///< of the step's answer tokens
  std::int64_t tokens = 0;       ///< answer tokens that are trained
  std::int64_t first_answer = 0; ///< of the step's answers
  std::int64_t answers = 0;
};

/// How groups become micro-batches.
struct cut_rule {
  std::int64_t budget = 0;                           ///< fed tokens of one, >= 1; a sequence always fits
  algorithms::unit whole = algorithms::unit::answer; ///< group: a group is never cut
  int at_once = 1;                                   ///< computed side by side

  bool operator==(const cut_rule&) const = default;
};

/// As `cut_at_once` cuts them.
std::vector<micro_batch> cut_micro_batches(std::span<const training_group> groups, const cut_rule& rule);

/// What one optimizer update is computed from: neighbouring groups of a step.
struct update_part {
  std::vector<micro_batch> micro_batches; ///< group, token and answer counted in the whole step
  algorithms::step_totals totals;         ///< the denominators of this update
  cut_rule rule = {};                     ///< that the micro-batches are cut by
};

/// Cuts a step into parts that end before the groups `ends`, ascending; the last is the number of groups.
std::vector<update_part> cut_at(std::span<const training_group> groups, std::span<const std::size_t> ends,
                                const cut_rule& rule);

/// Cuts an update into other micro-batches, where `rule` is another one. @param groups of the step
void cut_again(update_part& part, std::span<const training_group> groups, const cut_rule& rule);

/// Cuts a step into parts of whole groups, as `ends_of_updates` has them.
std::vector<update_part> cut_updates(std::span<const training_group> groups, std::int64_t updates,
                                     const cut_rule& rule);

/// The micro-batch as one forward pass takes it; `rows` and `targets` of the tokens that are trained.
model::packed_sequences pack_part(std::span<const training_group> groups, const micro_batch& batch);

} // namespace millrace::train
