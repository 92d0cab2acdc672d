#pragma once

#include "runtime/columns/column_set.hpp"
#include "runtime/model/segments.hpp"
#include "runtime/rollout/engine.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace millrace::columns {

/// The columns that a rollout adds. `mask` is 1 for every token that the policy sampled: all but what the environment
/// of an episode said. `kept` is left out if all answers were kept, and `recomputed` if `rollout::answer::recomputed`
/// names no token, and the columns of turns if no answer has any.
/// @param tok for the whole texts of episodes; null: they are left out
/// @param greedy how many answers, counted from the end, exist only for their reward. The column `greedy` marks them
///               and is left out for 0
transport::bundle columns_of(const std::vector<std::int32_t>& prompt, const rollout::finished_group& group,
                             std::size_t greedy = 0, const text::tokenizer* tok = nullptr);

/// The begun answers of a group that was stopped: `tokens`, `logprob`, `version`, `lengths`, `finish` and
/// `recomputed` and the turns as of a finished group, and `ended` u8 [answers].
transport::bundle columns_of(const rollout::partial_group& group);

/// @throws std::invalid_argument, std::out_of_range for columns that `columns_of` did not write
rollout::partial_group partial_of(std::uint64_t group, const column_set& columns);

/// The turns of each answer; empty where the group has none.
/// @throws std::exception for columns that disagree
std::vector<std::vector<rollout::answer_turn>> turns_in(const column_set& columns);

/// The begins of each answer's segments; empty where every answer is one. @throws std::exception for columns that
/// disagree
model::segment_begins segments_in(const column_set& columns);

/// Answer tokens by the version that sampled them, without those of the `greedy` last answers.
std::map<std::uint32_t, std::int64_t> tokens_by_version(const std::vector<rollout::answer>& answers,
                                                        std::size_t greedy = 0);

/// Answer tokens by the oldest version in the answer that they belong to, without those of the `greedy` last answers.
std::map<std::uint32_t, std::int64_t> tokens_by_oldest_version(const rollout::finished_group& group,
                                                               std::size_t greedy = 0);

/// Tokens of the `greedy` last answers.
std::int64_t greedy_tokens(const rollout::finished_group& group, std::size_t greedy);

} // namespace millrace::columns
