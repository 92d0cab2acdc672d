#pragma once

#include "algorithms/diagnostics.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::train {

/// What one training step did. Means are over answer tokens unless said otherwise.
struct step_report {
  enum class outcome { applied, not_finite, stopped };
  outcome result = outcome::applied;
  std::string reason;                  ///< one sentence where nothing was applied
  std::vector<std::uint64_t> culprits; ///< ids of the groups of a micro-batch that was not finite
  std::vector<std::uint64_t> unusable; ///< ids of the groups left out: a reward or log-probability that is not finite
  std::int64_t updates = 0;            ///< of the optimizer, in this step
  bool stopped_on_kl = false;          ///< further updates were left out: the policy had moved `target_kl`

  double loss = 0;                              ///< mean over the updates
  double reward_mean = 0, reward_deviation = 0; ///< over answers; deviation biased (n)
  double gradient_norm = 0;                     ///< before clipping, of the last update
  double kl_coefficient = 0;                    ///< of this step's loss
  double learning_rate = 0;
  std::int64_t groups = 0, answers = 0;
  std::int64_t zero_variance_groups = 0; ///< all rewards equal: nothing to learn from
  std::int64_t answer_tokens = 0;
  std::int64_t prompt_tokens = 0;        ///< each prompt counted once
  std::int64_t fed_tokens = 0;           ///< rows computed, all micro-batches
  std::int64_t micro_batches = 0;
  double staleness_mean = 0;             ///< policy versions between sampling and training
  std::uint32_t staleness_max = 0;
  algorithms::diagnostics seen;          ///< clip fraction, KL, importance weights, entropy

  /// Largest |logprob here - behaviour_logprob| over tokens sampled by the version being trained: what two
  /// implementations of the same model differ by. -1 where no such token was in the step.
  double logprob_mismatch = -1;

  std::int64_t pairs = 0, pairs_right = 0; ///< of answers with different rewards; those whose better one scores higher
  double text_loss = -1;                   ///< mean loss of the plain text mixed in, of the last update; -1: none was

  double forward_s = 0, backward_s = 0, optimizer_s = 0, total_s = 0;
};

} // namespace millrace::train
