#pragma once

#include "actors/column_set.hpp"
#include "actors/kept_groups.hpp"
#include "actors/policy.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/data/text_rows.hpp"
#include "runtime/train/learner.hpp"
#include "runtime/train/moving_average.hpp"
#include "runtime/train/reward_mix.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

namespace millrace::actors {

/// The training columns of one group. A greedy answer becomes the group's baseline and is no answer of it.
/// @param mask_truncated answers that were cut off keep their reward and lose their tokens: no part in the loss
/// @param rewards the policy's; without any, the column `reward` is the reward. With some, they are the group's `parts`, and
///        its reward, until a step mixes them, is their weighted sum
/// @throws std::exception naming the column that is missing or of another length
train::training_group training_group_of(std::uint64_t id, const column_set& columns, bool mask_truncated = false,
                                        std::span<const pipeline::reward_part_table> rewards = {});

/// The policy's `rewards` for `train::mix_rewards`.
std::vector<train::reward_part> reward_parts_of(const pipeline::pipeline& p);

/// Whether all rewards of a group are the same: nothing to learn from.
bool is_flat(const train::training_group& group);

/// The options of a row as numbers: a word becomes its index.
std::map<std::string, double> numbers_of(std::span<const algorithms::option> options, const pipeline::option_values& values);

/// The loss as the pipeline has it.
algorithms::loss_options loss_options_of(const pipeline::loss_table& table);

/// The learner's options as the pipeline has them.
train::learner_options learner_options_of(const pipeline::pipeline& p, int threads);

/// What the policy knows, with no actor in sight: the groups it has fetched, the learner and the weights it publishes.
/// `keep` and `forget` may run beside the others, which belong to one thread.
class learning {
public:
  /// Loads the policy's model, or goes on from a checkpoint that `write_checkpoint` wrote.
  /// @throws input_error in one line: model or checkpoint unusable, log-probabilities of an unknown version
  learning(const pipeline::pipeline& p, const std::filesystem::path& checkpoint, int threads);

  void keep(train::training_group group);
  void forget(std::uint64_t group);

  /// One step or one of its parts; the batch's groups are forgotten unless it was interrupted.
  batch_report train(const train_batch& batch, std::stop_token stop);

  /// What the critic should have said of the tokens of the batch just trained, where only the policy can tell; else empty.
  std::vector<float> take_returns() { return std::exchange(returns_, {}); }

  /// A snapshot of the parameters of a version; while a step is trained in parts, as they were before it.
  /// @throws std::logic_error if they are not those of `version` (any more)
  transport::bundle snapshot(std::uint32_t version) const;

  /// Into a folder that is there: `model` in Hugging Face layout, `optimizer`, and where the pipeline has them `adapter` in
  /// PEFT layout (then `model` is the merged one, or absent) and `ema`, the average. Between the parts of a step: all as it is
  /// now, with what the rest of the step needs in `optimizer`. @throws input_error
  void write_checkpoint(const std::filesystem::path& folder) const;

  std::uint64_t parameter_count() const;

private:
  std::vector<train::training_group> texts_of(std::uint64_t step) const;
  void end_step(const train_batch& batch, batch_report& report);

  const pipeline::policy_table table_;
  model::checkpoint model_; ///< without its parameters: they are the learner's
  train::learner learner_;
  std::optional<train::moving_average> average_;
  std::optional<data::text_rows> texts_;
  std::vector<train::reward_part> rewards_; ///< empty: there is one
  int threads_ = 0;
  std::uint32_t version_ = 0;
  std::int64_t idle_steps_ = 0; ///< at the run's start: only the critic trains
  std::vector<float> returns_;
  std::optional<train::step_report> so_far_; ///< what the parts of the step under way came to
  kept_groups groups_;
};

} // namespace millrace::actors
