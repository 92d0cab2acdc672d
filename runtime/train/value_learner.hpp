#pragma once

#include "algorithms/kl.hpp"
#include "algorithms/value_loss.hpp"
#include "runtime/model/activations.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/model/model_config.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/train/optimizer.hpp"
#include "runtime/train/step_report.hpp"
#include "runtime/train/team.hpp"
#include "runtime/train/training_group.hpp"
#include "runtime/words/precision.hpp"

#include <cstdint>
#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

namespace millrace::train {

struct value_learner_options {
  std::string algorithm = "ppo";                   ///< the policy's: its row says what the values should have been
  std::map<std::string, double> algorithm_options; ///< the policy's own
  algorithms::kl_clamps clamps = {};               ///< of the KL in the reward: the policy's own
  double value_clip = 0.2; ///< how far a value may move from the stamped one in the loss; 0: anywhere
  optimizer_options optimizer;
  std::int64_t micro_batch_tokens = 2048; ///< fed tokens of one forward pass, >= 1; one answer always fits
  model::activations activations = model::activations::kept;
  int micro_batches_at_once = 1;           ///< as `learner_options`'
  precision computes = precision::float32; ///< as `learner_options::computes`; of the values too
  int threads = 0;                         ///< of this process's LibTorch; 0: leave them as they are
  std::string device = "auto";             ///< as `learner_options::device`
  team_seat seat = {};                     ///< among the learner's processes
};

/// What one gradient of the critic saw, or those of a step in parts. Means are over answer tokens.
struct value_report {
  step_report::outcome result = step_report::outcome::applied; ///< applied: the gradient is there for `apply`
  std::string reason;                                          ///< one sentence where there is none
  std::vector<std::uint64_t> culprits; ///< ids of the groups of a micro-batch that was not finite
  /// Ids of the groups left out: a reward, value or log-probability that is not finite.
  std::vector<std::uint64_t> unusable;

  double loss = 0;
  double value_mean = 0, return_mean = 0; ///< as stamped; as they should have been
  double gradient_norm = 0;               ///< before clipping
  double learning_rate = 0;               ///< that `apply` will use
  std::int64_t micro_batches = 0;
  std::int64_t memory_ran_out = 0;    ///< as in `step_report`
  std::int64_t cut = 0;               ///< fed tokens at most of a micro-batch; 0: the option's. Not part of the sum
  std::string lesson;                 ///< as in `step_report`
  algorithms::value_diagnostics seen; ///< clip fraction, explained variance
  double total_s = 0;

  /// Adds the part of the step that came after this one.
  value_report& operator+=(const value_report& next);
};

/// Trains a decoder with a score head to say what is still to come: the value before each answer token (read at the row
/// that predicts the token) against the returns that the policy's algorithm makes of rewards and stamped values.
///
///     loss = mean over the step's answer tokens of value_loss(V, V_old, G, value_clip)
///
/// A step has two halves, so that a critic and a policy in different processes change together or not at all:
/// `gradient` computes, `apply` changes. Not thread-safe. The same inputs, options and threads give the same numbers
/// bit for bit, whatever the number of ranks.
class value_learner {
public:
  /// Copies `parameters` (with `score.weight`) to the device.
  /// @throws input_error for parameters that do not fit `config`; std::invalid_argument for options out of range, or an
  ///         algorithm whose row has no returns
  value_learner(model::model_config config, const model::weights& parameters, value_learner_options options);
  ~value_learner();
  value_learner(value_learner&&) noexcept;
  value_learner& operator=(value_learner&&) noexcept;

  /// The value before each answer token under the current parameters, [sum of lengths]. Depends on the group alone.
  /// @param segments of the answers
  /// @throws std::invalid_argument as `model::answer_values` and `model::by_segment`
  std::vector<float> values(std::span<const std::int32_t> prompt, std::span<const std::vector<std::int32_t>> answers,
                            const model::segment_begins& segments = {}) const;

  /// The decoder as it is now, which no later `apply` changes.
  std::shared_ptr<const model::decoder> snapshot() const;

  /// `values`, but under such a decoder: bit for bit what they were when it was taken.
  std::vector<float> values(const model::decoder& then, std::span<const std::int32_t> prompt,
                            std::span<const std::vector<std::int32_t>> answers,
                            const model::segment_begins& segments = {}) const;

  /// The gradient of one step; parameters and optimizer stay as they are. Replaces a gradient that was not applied.
  /// A group with a reward, value or log-probability that is not finite is left out, as by the policy's learner.
  /// @param groups at least one, each with `value` @param stop looked at between micro-batches
  /// @throws std::invalid_argument naming the group whose columns disagree
  /// @param version steps trained before this one: where the learning rate's course stands
  /// @param returns `step_report::returns` of the policy's learner over the same groups, where `makes_returns`; else
  /// empty
  /// @param cut of a step that is made again: `value_report::cut` of then; nothing: as there is memory
  value_report gradient(std::span<const training_group> groups, std::uint32_t version, std::stop_token stop = {},
                        std::span<const float> returns = {}, std::optional<std::int64_t> cut = {});

  /// As `learner::follow`.
  void follow();

  /// One update with the last gradient, which is spent; nothing where there is none.
  void apply();

  /// As `learner::parameters`: the very tensors that `apply` changes, or copies.
  model::weights parameters() const;

  std::uint64_t trained_numbers() const;

  std::int64_t steps() const; ///< updates applied so far

  /// Optimizer moments and step count, and the files of the weights, as `learner::begin_to_save`.
  std::shared_future<std::string> begin_to_save(const std::filesystem::path& folder,
                                                const std::filesystem::path& weights = {}) const;
  void end_saving() const;

  void save_state(const std::filesystem::path& folder, const std::filesystem::path& weights = {}) const {
    begin_to_save(folder, weights);
    end_saving();
  }

  /// @throws input_error as `learner::load_state`
  void load_state(const std::filesystem::path& folder);

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace millrace::train
