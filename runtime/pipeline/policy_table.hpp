#pragma once

#include "runtime/pipeline/limits.hpp"
#include "runtime/pipeline/optimizer_table.hpp"
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
    v("publishes_to", s.publishes_to, needed(), "the rollouts and evaluations that get new versions of the weights");
    v("algorithm", s.algorithm, one_of(names_of(v.words().algorithms)), "advantage and loss");
    v("algorithm_options", s.algorithm_options, algorithm_keys{s.algorithm}, "the algorithm's own numbers");
    v("optimizer", s.optimizer, any(), "how a gradient becomes a step");
    v("loss", s.loss, any(), "how advantages become a loss");
    v("micro_batch_tokens", s.micro_batch_tokens, between(16, 1 << 24), "tokens trained at once; the gradient is the same for any");
  }
};

} // namespace millrace::pipeline
