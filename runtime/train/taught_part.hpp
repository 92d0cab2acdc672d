#pragma once

#include "algorithms/algorithm.hpp"
#include "runtime/train/micro_batches.hpp"
#include "runtime/train/training_group.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace millrace::train {

/// A step without the groups that teach nothing.
struct taught_part {
  std::vector<training_group> groups;
  algorithms::answer_columns answers; ///< of these groups
  std::vector<update_part> parts;     ///< as many as there were; the totals are those of all groups
  at::Tensor tokens;                  ///< [tokens of these groups] int64, their places in the whole step
};

/// Leaves out groups whose every trained token has the advantage 0. An update keeps its first group where it would keep
/// none.
/// @param answers of these groups, numbered from 0 as they stand, with advantages   @param parts of the whole step
/// @param rule as `cut_updates` takes it
/// @returns nothing where all groups stay
std::optional<taught_part> taught_part_of(std::span<const training_group> groups,
                                          const algorithms::answer_columns& answers, std::span<const update_part> parts,
                                          const cut_rule& rule);

} // namespace millrace::train
