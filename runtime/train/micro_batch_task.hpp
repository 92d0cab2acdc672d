#pragma once

#include "algorithms/aggregation.hpp"
#include "algorithms/algorithm.hpp"
#include "algorithms/diagnostics.hpp"
#include "runtime/collective/parcel.hpp"
#include "runtime/train/micro_batches.hpp"
#include "runtime/train/training_group.hpp"

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
};

/// @param batch of a step's `groups`
micro_batch_task task_of(micro_batch_task::kind what, std::span<const training_group> groups, const micro_batch& batch);

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
