#pragma once

#include "algorithms/diagnostics.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::train {

/// Trained tokens of one age, and the answers whose oldest trained token is of it.
struct age_report {
  std::int64_t tokens = 0, answers = 0;
  double reward = 0; ///< sum over the answers

  age_report& operator+=(const age_report& other);
};

/// What one training step did, or a part of one. Means are over answer tokens unless said otherwise.
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
  std::int64_t answer_tokens = 0;        ///< trained
  std::int64_t turns = 0;                ///< of episodes
  std::int64_t segments = 0;             ///< of episodes: sequences that their answers are read as
  std::int64_t observed_tokens = 0;      ///< that environments said in them
  std::int64_t sampled_tokens = 0;       ///< of all answers, trained or not
  std::int64_t longest_answer = 0;       ///< tokens, trained or not
  std::int64_t prompt_tokens = 0;        ///< each prompt counted once
  std::int64_t fed_tokens = 0;           ///< rows computed, all micro-batches
  std::int64_t micro_batches = 0;
  std::int64_t memory_ran_out = 0;       ///< how often: each time the pass over an update's micro-batches began again
  std::int64_t flat_tokens_left_out = 0; ///< of the trained tokens: not computed, since their groups teach nothing
  double staleness_mean = 0;             ///< policy versions between sampling and training
  std::uint32_t staleness_max = 0;
  std::int64_t stale_tokens = 0; ///< trained tokens that the two are of
  algorithms::diagnostics seen;  ///< clip fraction, KL, importance weights, entropy

  /// Largest |logprob here - behaviour_logprob| over tokens sampled by the version being trained: what two
  /// implementations of the same model differ by. -1 where no such token was in the step.
  double logprob_mismatch = -1;
  double mismatch_sum = 0;          ///< of the same differences
  std::int64_t mismatch_tokens = 0; ///< that they are of

  double mean_mismatch() const {
    return mismatch_sum / static_cast<double>(std::max<std::int64_t>(1, mismatch_tokens));
  }

  std::int64_t pairs = 0, pairs_right = 0; ///< of answers with different rewards; those whose better one scores higher
  double text_loss = -1;                   ///< mean loss of the plain text mixed in, of the last update; -1: none was

  /// What a critic should have said of each token of the groups that were usable, where it takes the policy to tell
  /// (`makes_returns`); not part of the sum, nor of the JSON.
  std::vector<float> returns;

  /// Log-probabilities under the weights before the first update, of the first tokens of the groups that were usable,
  /// up to `most_policy_logprobs`; empty where nobody sampled the answers. Not part of the sum, nor of the JSON.
  std::vector<float> policy_logprob;
  static constexpr std::size_t most_policy_logprobs = 1 << 18;

  /// Fed tokens at most of a micro-batch, in each pass over micro-batches: the one for `old_logprob`, if there is one,
  /// then each update. Empty where all are the option's. Not part of the sum, nor of the JSON.
  std::vector<std::int64_t> cuts;
  std::string lesson; ///< what was learned of the memory there is, for people; as `cuts` not part of the sum

  std::array<age_report, algorithms::age_words.size()> by_age{};

  double forward_s = 0, backward_s = 0, optimizer_s = 0, total_s = 0;

  /// Adds the part of the step that came after this one: counts add up, means are weighted, what is said of the last
  /// update is that of the last part that made one. The step was applied if any of its parts was.
  step_report& operator+=(const step_report& next);
};

/// As JSON, every number bit for bit: a step of which some parts are trained goes into a checkpoint.
std::string to_json(const step_report& report);

/// @throws input_error for text that `to_json` did not write
step_report step_report_from(std::string_view json);

} // namespace millrace::train
