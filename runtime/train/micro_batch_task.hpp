#pragma once

#include "algorithms/aggregation.hpp"
#include "algorithms/algorithm.hpp"
#include "algorithms/diagnostics.hpp"
#include "runtime/collective/parcel.hpp"
#include "runtime/model/activations.hpp"
#include "runtime/train/micro_batches.hpp"
#include "runtime/train/shared_groups.hpp"
#include "runtime/train/training_group.hpp"
#include "runtime/words/age_mask.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace millrace::train {

/// A micro-batch with all that it takes to compute its gradient, away from its step.
struct micro_batch_task {
  enum class kind : std::int64_t {
    policy,      ///< the share of the algorithm's loss
    old_logprob, ///< log-probabilities only, no gradient
    text,        ///< the share of the loss of plain text
    value,       ///< the share of a critic's loss
  };
  kind what = kind::policy;
  std::vector<training_group> groups; ///< prompts, answers and masks of the micro-batch
  micro_batch batch;                  ///< counted in `groups`
  algorithms::answer_columns answers; ///< of these answers, on the CPU; no `logprob`, `entropy`, `score`
  algorithms::step_totals totals;     ///< of the whole update
  double coefficient = 0;             ///< of the KL term, or of the text's loss
  bool first_update = true;           ///< of the step
  bool from_start = true;    ///< without `old_logprob` in `answers`, the weights at hand are those of the step's start
  at::Tensor value, returns; ///< [tokens of the micro-batch], of a critic
  bool tells_logprob = true; ///< the result has the log-probabilities of the tokens
  model::activations activations = model::activations::kept; ///< for the gradient

  /// Where ranks share out groups: what the micro-batch consists of. `groups` is empty then, and `answers` has no
  /// column of what roles said of tokens.
  std::vector<piece_name> pieces;
  age_mask mask = age_mask::none; ///< of the step, as `mask_old` takes it
  std::uint32_t train_from = 0;
  bool some_are_old = false;        ///< the step has tokens that are too old to be trained
  bool advantage_by_answer = false; ///< one number an answer, for all of its tokens
};

/// @param batch of a step's `groups`
micro_batch_task task_of(micro_batch_task::kind what, std::span<const training_group> groups, const micro_batch& batch);

/// What a micro-batch of a step's `groups` consists of.
std::vector<piece_name> pieces_of(std::span<const training_group> groups, const micro_batch& batch);

/// The same task, whose groups and columns are named and not there.
/// @param mask,train_from as the step's groups were marked
micro_batch_task in_pieces(micro_batch_task task, std::span<const training_group> groups, const micro_batch& batch,
                           age_mask mask, std::uint32_t train_from);

/// That task with its groups and columns again, out of the pieces that this rank has.
/// @param vocab as `gather_columns` takes it
micro_batch_task out_of_pieces(micro_batch_task task, const group_pieces& pieces, std::int64_t vocab);

collective::parcel packed(const micro_batch_task& task);
micro_batch_task unpacked_task(const collective::parcel& parcel);

/// What one micro-batch saw. Times in seconds.
struct micro_batch_result {
  double loss = 0; ///< its share; not finite: there is no gradient
  algorithms::diagnostics seen;
  std::int64_t pairs = 0, pairs_right = 0; ///< as in `step_report`
  double logprob_mismatch = -1;            ///< as in `step_report`
  double mismatch_sum = 0;                 ///< as in `step_report`
  std::int64_t mismatch_tokens = 0;        ///< as in `step_report`
  double forward_s = 0, backward_s = 0;
  at::Tensor logprob; ///< [tokens of the micro-batch] f32 on the CPU, under the weights at hand; or undefined
};

collective::parcel packed(const micro_batch_result& result);
micro_batch_result unpacked_result(const collective::parcel& parcel);

/// The places of micro-batches that have tokens, the most costly first: ranks that take them in turn have like loads.
std::vector<std::size_t> by_cost(std::span<const micro_batch> batches);

} // namespace millrace::train
