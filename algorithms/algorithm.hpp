#pragma once

#include "algorithms/diagnostics.hpp"
#include "algorithms/options.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace millrace::algorithms {

/// What is known of a whole optimizer step before anything is computed with the current weights. A is the number of
/// answers, N the number of answer tokens, answers lie one after another and those of a group side by side.
struct step_columns {
  at::Tensor reward;            ///< [A] finite
  at::Tensor group;             ///< [A] int64, ascending from 0: the group of each answer
  at::Tensor length;            ///< [A] int64, tokens of each answer; sums to N
  at::Tensor behaviour_logprob; ///< [N] as stamped when the token was sampled
  at::Tensor ref_logprob;       ///< [N], undefined where no role adds it
};

/// Some whole answers of a step (a micro-batch), under the current weights. Shapes as in `step_columns`.
struct answer_columns {
  at::Tensor logprob;           ///< [N] current, differentiable
  at::Tensor old_logprob;       ///< [N] detached: the policy at the start of the step (proximal)
  at::Tensor behaviour_logprob; ///< [N]
  at::Tensor ref_logprob;       ///< [N] or undefined
  at::Tensor advantage;         ///< [N] detached
  at::Tensor length;            ///< [A] int64
};

/// A column an algorithm reads beyond `tokens` and `logprob`, by its name in a pipeline.
using column_name = std::string_view;

/// One row of the table of algorithms: an advantage estimator and a per-token loss, both pure functions. Everything that
/// can be shared stands beside them: KL term, importance weight and aggregation are applied by `policy_loss`.
struct algorithm {
  std::string_view name;                 ///< the word in a pipeline file
  std::string_view source;               ///< paper and section
  std::string_view summary;              ///< one line: what it computes and what is different here
  std::span<const column_name> columns;  ///< needed columns
  std::span<const option> options;       ///< what a pipeline may set, with defaults and ranges

  /// @returns [N] advantages of every token of the step, dtype of `reward`, detached; 0 where a group says nothing
  at::Tensor (*advantages)(const step_columns& step, const option_values& values);

  /// @param found counts what the loss did (clipping); summed over micro-batches
  /// @returns [N] losses, to be minimised, differentiable with respect to `logprob`
  at::Tensor (*token_loss)(const answer_columns& answers, const option_values& values, diagnostics& found);
};

/// Every algorithm of this build, in the order of the list in algorithms/CMakeLists.txt.
std::span<const algorithm* const> all();

/// @returns the row of that name, or nullptr
const algorithm* find(std::string_view name);

} // namespace millrace::algorithms
