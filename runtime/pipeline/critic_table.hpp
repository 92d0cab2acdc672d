#pragma once

#include "runtime/pipeline/optimizer_table.hpp"
#include "runtime/pipeline/planned_abilities.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/columns.hpp"
#include "runtime/words/limits.hpp"
#include "runtime/words/precision.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// `kind = "critic"`: says before each answer token what is still to come, and is trained with the policy's step on the
/// same groups. Rewards, `ref_logprob` and the rest of what training needs come with the policy's own columns.
struct critic_table {
  static constexpr std::string_view kind = "critic";
  static constexpr std::string_view summary = "values of answer tokens, trained with the policy's step";
  static constexpr bool heavy = true;
  static constexpr bool replicated = false;
  static constexpr bool ranks = true;

  std::string model;
  optimizer_table optimizer{.lr = 1e-5};
  std::int64_t alone_steps = 0;
  double value_clip = 0.2;
  std::int64_t micro_batch_tokens = 2048;
  std::int64_t micro_batches_at_once = 1;
  bool activation_checkpointing = false;
  precision compute_dtype = precision::float32;

  bool operator==(const critic_table&) const = default;

  static constexpr planned_abilities abilities() { return {.adds_columns = true, .trains = true}; }

  /// What `value` takes. What its training takes is what the policy reads.
  std::vector<std::string> reads(const vocabulary&) const {
    return column::names(column::prompt_tokens, column::tokens, column::lengths);
  }

  std::vector<std::string> reads_if_added() const {
    return column::names(column::turns, column::turn_ends, column::turn_new_segment);
  }

  std::vector<std::string> adds() const { return column::names(column::value, column::origin_of(column::value.name)); }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("model", s.model, needed(),
      "the [models.*] table that it starts from: a sequence-classification model of one label, or a language model, "
      "which gets a head of zeros");
    v("optimizer", s.optimizer, any(), "how a gradient becomes a step");
    v("alone_steps", s.alone_steps, between(0, 1e9),
      "steps at the run's start in which the critic alone is trained: the policy makes versions of the same weights");
    v("value_clip", s.value_clip, between(0, 1e9),
      "how far a value may move from the one that was said, in the loss; 0 = not clipped");
    v("micro_batch_tokens", s.micro_batch_tokens, between(16, 1 << 24),
      "tokens of a micro-batch; the gradient is the same for any, but for the order in which it is added up");
    v("micro_batches_at_once", s.micro_batches_at_once, between(1, 64),
      "an update is cut into a multiple of as many micro-batches, about equally long; one process on a CPU computes "
      "them side by side, each on its share of threads");
    v("activation_checkpointing", s.activation_checkpointing, any(),
      "keep each block's input alone and compute the rest again for the gradient, which is the same bit for bit: less "
      "memory, more time");
    v("compute_dtype", s.compute_dtype, any(),
      "what forward and backward passes multiply, and what lies between their operations, the values that it says "
      "included; parameters, gradients, moments, norms, softmax and losses are float32 always");
  }
};

} // namespace millrace::pipeline
