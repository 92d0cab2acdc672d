#pragma once

#include "algorithms/aggregation.hpp"
#include "algorithms/algorithm.hpp"
#include "runtime/train/step_report.hpp"
#include "runtime/train/training_group.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace millrace::train {

/// The groups of a step as columns on the CPU, checked.
struct step_batch {
  algorithms::step_columns columns; ///< rewards in double, token columns in float
  at::Tensor version;               ///< [N] int64
  at::Tensor trains;                ///< [N] bool, false: too old to be trained; undefined: all are
  at::Tensor group_tokens;          ///< [A] int64: tokens of each answer's whole group
  algorithms::step_totals totals;
};

/// Indices of the groups whose every reward, log-probability, value and baseline is finite.
std::vector<std::size_t> finite_groups(std::span<const training_group> groups);

/// @throws std::invalid_argument naming the group (by id), the answer and the column: a count that disagrees, a reward
///         or log-probability that is not finite, an empty prompt, no groups; a token's id outside [0, vocab)
step_batch gather_columns(std::span<const training_group> groups, std::int64_t vocab);

/// Everything of the report that is known before the model runs.
step_report describe(std::span<const training_group> groups, const step_batch& batch, std::uint32_t version);

} // namespace millrace::train
