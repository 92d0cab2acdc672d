#pragma once

#include "runtime/pipeline/lora_table.hpp"
#include "runtime/pipeline/loss_table.hpp"
#include "runtime/pipeline/optimizer_table.hpp"
#include "runtime/pipeline/planned_abilities.hpp"
#include "runtime/pipeline/pretraining_table.hpp"
#include "runtime/pipeline/reward_part_table.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/columns.hpp"
#include "runtime/words/limits.hpp"
#include "runtime/words/precision.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::pipeline {

/// Stands in a `visit` for the options of the algorithm of this name.
struct algorithm_keys {
  const std::string& algorithm;
};

/// `kind = "policy"`: trains the weights and publishes them to the rollouts.
struct policy_table {
  static constexpr std::string_view kind = "policy";
  static constexpr std::string_view summary = "trains the weights and publishes them";
  static constexpr bool heavy = true;
  static constexpr bool replicated = false;
  static constexpr bool ranks = true;

  std::string model;
  std::vector<std::string> publishes_to;
  bool publish_deltas = false;
  std::string algorithm = "grpo";
  option_values algorithm_options; ///< every option of the algorithm: numbers (`double`) and words
  optimizer_table optimizer;
  std::vector<reward_part_table> rewards; ///< empty: the column `reward` as it is
  loss_table loss;
  std::int64_t updates_per_batch = 1;
  std::int64_t epochs = 1;
  double target_kl = 0;
  std::int64_t micro_batch_tokens = 2048;
  std::int64_t micro_batches_at_once = 1;
  bool activation_checkpointing = false;
  precision compute_dtype = precision::float32;
  bool match_rollouts = true;
  bool skip_flat_groups = true;
  bool mask_truncated = false;
  std::string credit = "answer";
  double turn_discount = 1;
  std::optional<lora_table> lora;
  double ema_decay = 0;
  std::optional<pretraining_table> pretraining;

  bool operator==(const policy_table&) const = default;

  static constexpr planned_abilities abilities() { return {.trains = true, .leads = true}; }

  /// The answers with the rollout's stamps, the algorithm's own columns (`rewards` in place of `reward`, if there are
  /// any), and `ref_logprob` where there is a KL term in loss or reward.
  std::vector<std::string> reads(const vocabulary& words) const;

  /// The number that the algorithm's option has; 0 where the algorithm has no such option.
  double algorithm_number(std::string_view option) const;

  std::vector<std::string> reads_if_added() const {
    auto columns = column::names(column::recomputed, column::kept, column::greedy, column::ref_logprob, column::value,
                                 column::any_origin, column::finish, column::turns, column::turn_begins,
                                 column::turn_ends, column::turn_reward, column::turn_new_segment);
    if (rewards.empty())
      columns.emplace_back(column::reward.name);
    return columns;
  }

  std::vector<std::string> adds() const { return {}; }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("model", s.model, needed(), "the [models.*] table that training starts from");
    v("publishes_to", s.publishes_to, any(), "the rollouts and evaluations that get new versions of the weights");
    v("publish_deltas", s.publish_deltas, any(),
      "a rollout that has the version before pulls what differs, where that is less than half of the bytes; takes one "
      "more copy of the weights, as they travel, in the policy's process and in each rollout's; with lora, adapters "
      "travel in any case, and no deltas");
    v("algorithm", s.algorithm, one_of(names_of(v.words().algorithms)), "advantage and loss");
    v("algorithm_options", s.algorithm_options, algorithm_keys{s.algorithm}, "the algorithm's own options");
    v("optimizer", s.optimizer, any(), "how a gradient becomes a step");
    v("rewards", s.rewards, any(),
      "what makes the reward: a weighted sum of columns reward.<name>; unset = the column reward");
    v("loss", s.loss, any(), "how advantages become a loss");
    v("mask_truncated", s.mask_truncated, any(),
      "answers cut off at max_new_tokens count among the group's rewards and have no part in the loss");
    v("credit", s.credit, one_of({"answer", "turn"}),
      "what an advantage is for. turn: each turn of an episode has its own, of the rewards that the environment gave "
      "for "
      "it and for later turns; it is compared with the group's turns of the same number");
    v("turn_discount", s.turn_discount, between(-1, 1),
      "of credit = \"turn\": what the next turn's reward counts; negative = the next turn is the other side's");
    v("updates_per_batch", s.updates_per_batch, between(1, 1e6),
      "optimizer updates of a pass over a step, each on whole groups");
    v("epochs", s.epochs, between(1, 1000), "passes over a step");
    v("target_kl", s.target_kl, between(0, 1e6),
      "no further update of a step once KL(proximal || current) is above; 0 = all of them");
    v("lora", s.lora, any(),
      "low-rank adapters in place of the whole model; they alone travel to other hosts, where they are merged with "
      "the model's own files");
    v("ema_decay", s.ema_decay, between(0, 0.999999999),
      "of an exponential average of the weights over steps, saved as `ema` in each checkpoint; 0 = none");
    v("pretraining", s.pretraining, any(), "plain text whose loss is mixed in");
    v("micro_batch_tokens", s.micro_batch_tokens, between(16, 1 << 24),
      "tokens of a micro-batch; the gradient is the same for any, but for the order in which it is added up");
    v("micro_batches_at_once", s.micro_batches_at_once, between(1, 64),
      "an update is cut into a multiple of as many micro-batches, about equally long; one process on a CPU computes "
      "them side by side, each on its share of threads");
    v("skip_flat_groups", s.skip_flat_groups, any(),
      "groups whose every advantage is 0 are not computed where the gradient is the same without them: no KL in the "
      "loss, no entropy bonus, no target_kl. Entropy, KL and ratios are then means over the tokens computed");
    v("activation_checkpointing", s.activation_checkpointing, any(),
      "keep each block's input alone and compute the rest again for the gradient, which is the same bit for bit: less "
      "memory, more time");
    v("compute_dtype", s.compute_dtype, any(),
      "what forward and backward passes multiply, and what lies between their operations; parameters, gradients, "
      "moments, norms, softmax and losses are float32 always");
    v("match_rollouts", s.match_rollouts, any(),
      "where models.MODEL.dtype is bfloat16, passes in float32 compute with the weights rounded as rollouts have them, "
      "so that log-probabilities agree; what is changed are the float32 weights");
  }
};

} // namespace millrace::pipeline
