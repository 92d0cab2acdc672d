#pragma once

#include "runtime/model/activations.hpp"
#include "runtime/model/model_config.hpp"
#include "runtime/words/precision.hpp"

#include <cstdint>
#include <limits>

namespace millrace::train {

/// A micro-batch as memory sees it.
struct micro_batch_size {
  std::int64_t tokens = 0; ///< fed
  std::int64_t rows = 0;   ///< tokens that predict one
};

/// The largest micro-batch of a step, if each of its groups is as long as it may be.
struct longest_groups {
  std::int64_t groups = 0;  ///< in one update
  std::int64_t answers = 0; ///< of each
  std::int64_t prompt = 0;  ///< tokens
  std::int64_t answer = 0;  ///< tokens
  /// Tokens of a sequence: an answer that goes beyond it has as few segments as it can.
  std::int64_t context = std::numeric_limits<std::int64_t>::max();
};

/// As `cut_micro_batches` cuts it. @param budget tokens of a micro-batch
micro_batch_size largest_micro_batch(const longest_groups& longest, std::int64_t budget);

/// What a micro-batch is fed at most where `at_once` are computed side by side, as `cut_at_once` cuts a step.
/// @param whole fed tokens of an update   @param budget of a micro-batch
std::int64_t budget_at_once(std::int64_t whole, std::int64_t budget, std::int64_t at_once);

/// How passes compute.
struct pass_options {
  model::activations kept = model::activations::kept;
  precision computes = precision::float32;
  std::int64_t adapter_rank = 0; ///< of LoRA; 0: none
};

/// The most bytes that the forward and the backward pass of a micro-batch take at a time, beside weights and gradients;
/// on a CPU, which multiplies bfloat16 in fp32.
std::int64_t activation_bytes(const model::model_config& config, const micro_batch_size& batch,
                              const pass_options& how);

} // namespace millrace::train
