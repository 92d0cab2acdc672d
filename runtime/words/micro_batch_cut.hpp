#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace millrace {

/// How much of a group a training pass is fed.
struct fed_group {
  std::int64_t prompt = 0;           ///< tokens
  std::vector<std::int64_t> answers; ///< tokens of each: all but its last
};

/// Some neighbouring answers of one group.
struct group_part {
  std::size_t group = 0; ///< index into the step's groups
  std::size_t first_answer = 0, answers = 0;
};

/// What one forward pass is fed.
struct fed_batch {
  std::vector<group_part> parts;
  std::int64_t fed_tokens = 0; ///< prompts and all but the last token of each answer
};

/// Cuts groups, in order, into micro-batches of at most `budget` fed tokens. A group is cut only between answers, and
/// its prompt is then fed again; a single answer longer than the budget makes a micro-batch of its own.
/// @param whole_groups a group is never cut, and one larger than the budget makes a micro-batch of its own
std::vector<fed_batch> cut_by_tokens(std::span<const fed_group> groups, std::int64_t budget, bool whole_groups);

/// Cuts groups for passes of which `at_once` are computed side by side: into as few micro-batches of at most `budget`
/// fed tokens as there can be, filled up to a multiple of `at_once`, and about equally long. With 1: as
/// `cut_by_tokens`.
/// @param at_once >= 1
std::vector<fed_batch> cut_at_once(std::span<const fed_group> groups, std::int64_t budget, bool whole_groups,
                                   int at_once);

/// Where a step is cut into updates: each ends before one of these groups, ascending, the last is `groups`. Counts of
/// groups differ by one at most; there are fewer updates where there are fewer groups.
/// @param updates wanted, below 1 as 1
std::vector<std::size_t> ends_of_updates(std::size_t groups, std::int64_t updates);

/// The places of micro-batches, the one with most fed tokens first, of equal ones the earlier. Ranks take them in turn,
/// one each a round: so those of a round are about equally long.
std::vector<std::size_t> longest_first(std::span<const std::int64_t> fed_tokens);

} // namespace millrace
