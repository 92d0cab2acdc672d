#pragma once

#include "algorithms/aggregation.hpp"
#include "algorithms/diagnostics.hpp"
#include "algorithms/hyperparameters.hpp"
#include "algorithms/kl.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace millrace::algorithms {

/// The columns of a whole optimizer step, known before the current weights compute anything. A is the number of
/// answers, N the number of answer tokens. Answers lie one after another, the answers of a group side by side. Masked
/// tokens (a tool's words) are not in the columns.
struct step_columns {
  at::Tensor reward;            ///< [A] finite
  at::Tensor group;             ///< [A] int64, ascending from 0: the group of each answer
  at::Tensor length;            ///< [A] int64, tokens of each answer; sums to N
  at::Tensor behaviour_logprob; ///< [N] as stamped when the token was sampled
  at::Tensor ref_logprob;       ///< [N], undefined where no role adds it
  at::Tensor old_logprob;       ///< [N] the policy at the start of the step; undefined unless the row wants it
  at::Tensor value;             ///< [N] the critic's value before each token; undefined where no role adds it
  at::Tensor baseline;          ///< [A] reward of the greedy answer to the same prompt; undefined where no role adds it
  at::Tensor domain;            ///< [A] int64, the subject of the prompt; undefined: all prompts have one subject
  kl_clamps clamps = {};        ///< of the KL that comes off the reward: those of the loss
};

/// Some whole answers of a step (a micro-batch), under the current weights. Shapes as in `step_columns`.
struct answer_columns {
  at::Tensor logprob;           ///< [N] current, differentiable
  at::Tensor old_logprob;       ///< [N] detached: the policy at the start of the step (proximal)
  at::Tensor behaviour_logprob; ///< [N]
  at::Tensor ref_logprob;       ///< [N] or undefined
  at::Tensor advantage;         ///< [N] detached
  at::Tensor length;            ///< [A] int64
  at::Tensor reward;            ///< [A]
  at::Tensor group;             ///< [A] int64, ascending: answers of one group have one number
  at::Tensor group_tokens;      ///< [A] int64, tokens of the answer's whole group in the step, here or not
  at::Tensor entropy;           ///< [N] differentiable, or undefined
  at::Tensor score;             ///< [A] differentiable output of a score head; undefined for a language-model head
  at::Tensor version; ///< [N] int64, the policy version that sampled each token; undefined where nothing reads it
  std::int64_t policy_version = 0; ///< of the weights that the step trains
  at::Tensor trains;               ///< [N] bool, false: too old to be trained; undefined: all tokens are trained
  at::Tensor step_weight;          ///< [N] weight by the corrections that see a whole step; undefined without any
};

/// A column an algorithm reads beyond `tokens` and `logprob`, by its name in a pipeline.
using column_name = std::string_view;

/// The smallest part of a step that a loss function must see in one piece.
enum class unit { answer, group };

/// The head on the decoder: logits over the vocabulary, or one number an answer, read at its last token.
enum class head { language_model, score };

/// One row of the table of algorithms: an advantage estimator and a loss, both pure functions. `policy_loss`
/// adds what all rows share: KL and entropy terms, corrections, aggregation.
struct algorithm {
  std::string_view name;                     ///< the word in a pipeline file
  std::string_view source;                   ///< paper and section
  std::string_view summary;                  ///< one line: the advantage and the loss
  std::string_view formula;                  ///< lines of plain text, as `millrace algorithm show` prints them
  std::string_view differences;              ///< where papers and code bases disagree, and the choice made here
  std::span<const column_name> columns;      ///< needed columns
  std::span<const hyperparameter> options;   ///< the numbers a pipeline may set, with defaults and ranges
  aggregation how = aggregation::token_mean; ///< used where the pipeline names no aggregation
  unit whole = unit::answer;
  head on = head::language_model;
  bool wants_old_logprob = false; ///< `advantages` reads step_columns::old_logprob
  bool by_advantage = false;      ///< every loss is a product with the token's advantage: where it is 0, no gradient
  bool corrects = false;          ///< weighs stale tokens itself: a pipeline that names no correction gets none
  /// 1, or 2 where answers are compared inside their group: an answer alone in its group trains nothing.
  std::int64_t least_answers = 1;
  std::string_view least_switch = {}; ///< the switch of the row that, where it is on, makes 2 of that 1 or 1 of that 2

  /// @returns [N] advantages of every token of the step, dtype of `reward`, detached; 0 where a group says nothing
  at::Tensor (*advantages)(const step_columns& step, const hyperparameter_values& values) = nullptr;

  /// The target of the critic's `value_loss`. Null in a row that reads no `value`.
  /// @returns [N] not whitened, dtype of `reward`, detached
  at::Tensor (*returns)(const step_columns& step, const hyperparameter_values& values) = nullptr;

  /// The loss of each token. A loss L_i of a whole answer stands at each token of answer i; the row's aggregation then
  /// makes a mean over answers or groups of it.
  /// @param found grows by the clipped tokens; summed over micro-batches
  /// @returns [N] losses, to be minimised, differentiable with respect to `logprob` (or `score`)
  at::Tensor (*losses)(const answer_columns& answers, const hyperparameter_values& values,
                       diagnostics& found) = nullptr;
};

/// Every algorithm of this build, in the order of the list in algorithms/CMakeLists.txt.
std::span<const algorithm* const> all();

/// @returns the row of that name, or nullptr
const algorithm* find(std::string_view name);

} // namespace millrace::algorithms
