#pragma once

#include "runtime/pipeline/limits.hpp"
#include "runtime/pipeline/vocabulary.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// Stands in a `visit` for the options of the algorithm of this name.
struct algorithm_keys {
  const std::string& algorithm;
};

/// `optimizer = { ... }` of the policy.
struct optimizer_table {
  std::string name = "adamw";
  double lr = 1e-6;
  std::array<double, 2> betas{0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  std::int64_t warmup_steps = 0;
  std::string decay = "constant";
  double final_lr_fraction = 0;
  double clip_norm = 1;

  bool operator==(const optimizer_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("name", s.name, one_of(v.words().optimizers), "which optimizer");
    v("lr", s.lr, above(0, 1), "learning rate after the warm-up");
    v("betas", s.betas, between(0, 0.999999), "decay of the two moments");
    v("eps", s.eps, above(0, 1), "added to the square root of the second moment");
    v("weight_decay", s.weight_decay, between(0, 10), "decoupled weight decay, times lr");
    v("warmup_steps", s.warmup_steps, between(0, 1e9), "steps of linear growth from 0 to lr");
    v("decay", s.decay, one_of({"constant", "linear", "cosine"}), "course of the learning rate after the warm-up, until the last step");
    v("final_lr_fraction", s.final_lr_fraction, between(0, 1), "share of lr left at the last step (linear, cosine)");
    v("clip_norm", s.clip_norm, between(0, 1e6), "largest L2 norm of the gradient; 0 = not clipped");
  }
};

/// `loss = { ... }` of the policy.
struct loss_table {
  std::string aggregation = "token_mean";
  double kl_coefficient = 0;
  std::string kl_estimator = "k3";
  double importance_cap = 2;

  bool operator==(const loss_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("aggregation", s.aggregation, one_of({"token_mean", "sequence_mean"}), "mean over the step's tokens, or over its answers' means");
    v("kl_coefficient", s.kl_coefficient, between(0, 100), "weight of the KL term against the reference; above 0 needs a role that adds ref_logprob");
    v("kl_estimator", s.kl_estimator, one_of({"k1", "k2", "k3"}), "Schulman's estimator of the KL term");
    v("importance_cap", s.importance_cap, between(0, 1e6), "truncated importance sampling: largest weight of an off-policy token; 0 = off");
  }
};

/// `kind = "policy"`: trains the weights and publishes them to the rollouts.
struct policy_table {
  static constexpr std::string_view kind = "policy";
  static constexpr std::string_view summary = "trains the weights and publishes them";
  static constexpr bool heavy = true;
  static constexpr bool replicated = false;

  std::string model;
  std::vector<std::string> publishes_to;
  std::string algorithm = "grpo";
  option_values algorithm_options; ///< every option of the algorithm: numbers (`double`)
  optimizer_table optimizer;
  loss_table loss;
  std::int64_t micro_batch_tokens = 2048;

  bool operator==(const policy_table&) const = default;

  /// The rollout's stamps, the algorithm's own columns, and `ref_logprob` where there is a KL term.
  std::vector<std::string> reads(const vocabulary& words) const;
  std::vector<std::string> adds() const { return {}; }

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("model", s.model, needed(), "the [models.*] table that training starts from");
    v("publishes_to", s.publishes_to, needed(), "the rollout roles that get each new version of the weights");
    v("algorithm", s.algorithm, one_of(names_of(v.words().algorithms)), "advantage and loss");
    v("algorithm_options", s.algorithm_options, algorithm_keys{s.algorithm}, "the algorithm's own numbers");
    v("optimizer", s.optimizer, any(), "how a gradient becomes a step");
    v("loss", s.loss, any(), "how advantages become a loss");
    v("micro_batch_tokens", s.micro_batch_tokens, between(16, 1 << 24), "tokens trained at once; the gradient is the same for any");
  }
};

} // namespace millrace::pipeline
