#pragma once

#include "algorithms/aggregation.hpp"
#include "algorithms/algorithm.hpp"
#include "algorithms/turn_credit.hpp"
#include "runtime/train/micro_batches.hpp"
#include "runtime/train/step_report.hpp"
#include "runtime/train/training_group.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace millrace::train {

/// The groups of a step as columns on the CPU, checked. A column that both have is one tensor.
struct step_batch {
  algorithms::step_columns columns;   ///< advantages are made of them; rewards in double, token columns in float
  algorithms::answer_columns answers; ///< of the whole step: the loss is made of slices of them
  algorithms::step_totals totals;
  algorithms::turn_columns turns = {}; ///< undefined where no group has `turns`
};

/// A step's groups whose every reward, log-probability, value and baseline is finite. The groups given must outlive it.
class finite_groups {
public:
  explicit finite_groups(std::span<const training_group> given);

  /// In the order in which they were given; copies only where others are left out.
  std::span<const training_group> groups() const { return left_out_.empty() ? given_ : kept_; }

  /// Ids of the others.
  const std::vector<std::uint64_t>& left_out() const { return left_out_; }

private:
  std::span<const training_group> given_;
  std::vector<training_group> kept_;
  std::vector<std::uint64_t> left_out_;
};

/// @throws std::invalid_argument naming the group (by id), the answer and the column: a count that disagrees, a reward
///         or log-probability that is not finite, an empty prompt, no groups; a token's id outside [0, vocab)
step_batch gather_columns(std::span<const training_group> groups, std::int64_t vocab);

/// The answers of a micro-batch out of those of its step, on `device`. A column that the step lacks stays undefined,
/// and so do those that take a forward pass: `logprob`, `entropy` and `score`.
algorithms::answer_columns slice(const algorithms::answer_columns& step, const micro_batch& batch, at::Device device);

/// Some answers of a step, as `slice` gives them. @param tokens,answers int64 places, ascending
algorithms::answer_columns selected(const algorithms::answer_columns& step, const at::Tensor& tokens,
                                    const at::Tensor& answers);

/// Everything of the report that is known before the model runs.
step_report describe(std::span<const training_group> groups, const step_batch& batch, std::uint32_t version);

} // namespace millrace::train
