#pragma once

#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/limits.hpp"

#include <string>
#include <vector>

namespace millrace::pipeline {

/// Stands in a `visit` for the options of the correction of this type, with the preset's constants as defaults.
struct correction_keys {
  const std::string& type;
  const std::string& preset;
};

/// One entry of `corrections = [...]`: `{ type = "icepop", preset = "prime_rl", high = 4.0 }`. Which further keys and
/// presets it takes is the correction's own matter (`vocabulary`); `options` holds every one of its options.
struct correction_entry {
  std::string type;
  std::string preset; ///< empty: the correction's defaults
  option_values options;

  bool operator==(const correction_entry&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("type", s.type, needed(one_of(names_of(v.words().corrections))), "which correction");
    v("preset", s.preset, any(), "whose constants; empty = the defaults");
    v.options(correction_keys{s.type, s.preset}, s.options);
  }
};

/// `loss = { ... }` of the policy.
struct loss_table {
  std::string aggregation; ///< empty in the file = the algorithm's own
  double fixed_length = 0; ///< 0 in the file = the rollout's `max_new_tokens`
  double kl_coefficient = 0;
  std::string kl_estimator = "k3";
  double kl_clamp_input = 0;
  double kl_clamp_output = 0;
  double kl_target = 0;
  double kl_horizon = 10000;
  double entropy_coefficient = 0;
  std::string proximal = "recomputed";
  /// Not in the file = `truncated`, or none where the algorithm weighs tokens itself.
  std::vector<correction_entry> corrections;

  bool operator==(const loss_table&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("aggregation", s.aggregation, one_of(v.words().aggregations),
      "one number out of token losses; default: the algorithm's own");
    v("fixed_length", s.fixed_length, between(0, 1e9),
      "tokens, the constant of aggregation fixed_length; 0 = the rollout's max_new_tokens");
    v("kl_coefficient", s.kl_coefficient, between(0, 100),
      "weight of the KL term against the reference; above 0 needs a role that adds ref_logprob");
    v("kl_estimator", s.kl_estimator, one_of(v.words().kl_estimators),
      "estimator of the KL term; + and _score have the KL's own gradient");
    v("kl_clamp_input", s.kl_clamp_input, between(0, 1e6),
      "largest |log-ratio| in the KL, of loss and reward; 0 = 20 for k3, else none; verl and NeMo-RL 20");
    v("kl_clamp_output", s.kl_clamp_output, between(0, 1e6),
      "largest |KL| of a token, of loss and reward; 0 = none, as TRL; verl (k3), OpenRLHF and NeMo-RL 10");
    v("kl_target", s.kl_target, between(0, 1e6), "mean KL that kl_coefficient follows; 0 = the coefficient is fixed");
    v("kl_horizon", s.kl_horizon, above(0, 1e12), "answers over which it follows");
    v("entropy_coefficient", s.entropy_coefficient, between(0, 100), "weight of the entropy bonus");
    v("proximal", s.proximal, one_of(v.words().proximals), "the policy that ratios and corrections are taken against");
    v("corrections", s.corrections, any(), "off-policy corrections, factors on each token's loss; [] = none");
  }
};

} // namespace millrace::pipeline
