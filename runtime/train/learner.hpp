#pragma once

#include "algorithms/policy_loss.hpp"
#include "runtime/model/model_config.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/train/optimizer.hpp"
#include "runtime/train/step_report.hpp"
#include "runtime/train/training_group.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

namespace millrace::train {

struct learner_options {
  std::string algorithm = "grpo";
  std::map<std::string, double> algorithm_options; ///< by the names in the algorithm's row
  algorithms::loss_options loss;
  optimizer_options optimizer;
  double temperature = 1;                 ///< > 0; the one the answers were sampled at
  std::int64_t micro_batch_tokens = 2048; ///< fed tokens of one forward pass, >= 1; one answer always fits
  int threads = 0;                        ///< of this process's LibTorch; 0: leave them as they are
  std::string device = "auto";            ///< "auto", "cpu", "cuda", "cuda:1"
};

/// Trains a decoder: packs groups, runs them in micro-batches, applies one optimizer update per step. Holds the fp32
/// master parameters. Not thread-safe. The same inputs, options and threads give the same parameters bit for bit.
class learner {
public:
  /// Copies `parameters` to the device.
  /// @throws input_error for parameters that do not fit `config`; std::invalid_argument for options out of range
  learner(model::model_config config, const model::weights& parameters, learner_options options);
  ~learner();
  learner(learner&&) noexcept;
  learner& operator=(learner&&) noexcept;

  /// One optimizer step on whole groups.
  ///
  /// A loss or gradient that is not finite leaves everything as it was, and the report says so and names the groups.
  /// So does `stop`, looked at between micro-batches.
  ///
  /// @param groups  at least one; every vector of a group of the same shape
  /// @param version the policy version that these parameters are, for staleness
  /// @throws std::invalid_argument naming the group whose columns disagree
  step_report step(std::span<const training_group> groups, std::uint32_t version, std::stop_token stop = {});

  /// Current parameters by name, on the learner's device; the very tensors the next step changes.
  const model::weights& parameters() const;

  /// Optimizer steps applied so far.
  std::int64_t steps() const;

  /// Writes optimizer moments and the step count to `folder` (parameters are the checkpoint's own business).
  void save_state(const std::filesystem::path& folder) const;

  /// Reads what `save_state` wrote; with the same parameters, training goes on bit for bit.
  /// @throws input_error naming the file that is missing, truncated or of another model
  void load_state(const std::filesystem::path& folder);

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace millrace::train
