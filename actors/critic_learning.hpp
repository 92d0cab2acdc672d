#pragma once

#include "actors/column_set.hpp"
#include "actors/critic.hpp"
#include "actors/kept_groups.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/train/reward_mix.hpp"
#include "runtime/train/value_learner.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

namespace millrace::actors {

/// The critic's options as the pipeline has them: its own, and the algorithm of the policy.
train::value_learner_options value_learner_options_of(const pipeline::pipeline& p, const pipeline::critic_table& table, int threads);

/// A critic as it was at some moment, whatever is trained later.
struct critic_snapshot {
  std::shared_ptr<const model::decoder> decoder;
  train::column_origin origin;
};

/// What a critic knows, with no actor in sight: the groups it has fetched, and the learner of its values. `keep` and
/// `forget` may run beside the others, which belong to one thread.
class critic_learning {
public:
  /// Loads the critic's model, or goes on from a checkpoint that `write_checkpoint` wrote.
  /// @throws input_error in one line: model or checkpoint unusable, a tokenizer that is not the rollout's
  critic_learning(const pipeline::pipeline& p, const pipeline::critic_table& table, const std::filesystem::path& checkpoint,
                  int threads);

  void keep(train::training_group group);
  void forget(std::uint64_t group);

  /// The value before each answer token, of the parameters as they are.
  std::vector<float> values(std::span<const std::int32_t> prompt, std::span<const std::vector<std::int32_t>> answers) const;

  /// What they are computed with: the updates that the parameters have had, those before a resume too.
  train::column_origin origin() const;

  /// What a stage adds to a group: `value`, f32 [sum of lengths], with its origin.
  /// @param columns `prompt_tokens`, `tokens`, `lengths`
  transport::bundle value_columns(const column_set& columns) const;

  critic_snapshot snapshot() const { return {learner_.snapshot(), origin()}; }

  /// The same as it would have been at that moment, bit for bit.
  transport::bundle value_columns(const column_set& columns, const critic_snapshot& then) const;

  /// The gradient of one step, or of a part of one; nothing changes. `batch_report::trained_tokens` stays 0: the policy counts
  /// them. The figures are those of the step's parts up to this one, in this life of the run.
  /// @param returns the policy's, where only it can make them
  batch_report train(const train_batch& batch, std::stop_token stop, std::span<const float> returns = {});

  /// Applies the gradient of `train` and forgets the groups, or does nothing. A step that `train` did not see is none.
  void end_step(const end_critic_step& how);

  /// Under `critic/` of a folder that is there: weights as a sequence-classification model, the optimizer's state.
  void write_checkpoint(const std::filesystem::path& folder) const;

  std::uint64_t parameter_count() const;

private:
  model::checkpoint model_; ///< without its parameters: they are the learner's
  train::value_learner learner_;
  std::vector<train::reward_part> rewards_; ///< as `learning` mixes them; empty: there is one
  train_batch batch_;       ///< whose gradient waits; step 0: none does
  train::value_report report_; ///< of that gradient
  std::optional<train::value_report> so_far_; ///< what the applied parts of the step under way came to
  int threads_ = 0;
  kept_groups groups_;
};

} // namespace millrace::actors
