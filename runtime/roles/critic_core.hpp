#pragma once

#include "runtime/columns/column_set.hpp"
#include "runtime/columns/training_columns.hpp"
#include "runtime/messages/train.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/roles/kept_groups.hpp"
#include "runtime/train/reward_mix.hpp"
#include "runtime/train/value_learner.hpp"

#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

namespace millrace::roles {

/// The critic's options as the pipeline has them: its own, and the algorithm of the policy.
train::value_learner_options value_learner_options_of(const pipeline::pipeline& p, const pipeline::critic_table& table,
                                                      int threads);

/// A critic as it was at some moment, whatever is trained later.
struct critic_snapshot {
  std::shared_ptr<const model::decoder> decoder;
  train::column_origin origin;
};

/// What a critic knows, without an actor: the groups it has fetched, and the learner of its values. `keep`,
/// `keeps` and `forget` may run beside the others, which belong to one thread.
class critic_core {
public:
  /// Loads the critic's model, or goes on from a checkpoint that `write_checkpoint` wrote.
  /// @throws input_error in one line: model or checkpoint unusable, a tokenizer that is not the rollout's
  /// @param seat as of `policy_core`
  critic_core(const pipeline::pipeline& p, const pipeline::critic_table& table, const std::filesystem::path& checkpoint,
              int threads, train::team_seat seat = {});

  /// The life of a rank that does not lead, as `learner::follow`.
  void follow() { learner_.follow(); }

  /// Keeps a group that was fetched, as `policy_core::keep` does.
  bool keep(std::uint64_t group, const columns::column_set& columns, std::string domain);
  void keep(train::training_group group);
  void forget(std::uint64_t group);

  /// The value before each answer token, of the parameters as they are.
  std::vector<float> values(std::span<const std::int32_t> prompt, std::span<const std::vector<std::int32_t>> answers,
                            const model::segment_begins& segments = {}) const;

  /// The number of updates of these parameters, updates before a resume included, and the threads that compute.
  train::column_origin origin() const;

  /// What it adds to a group: `value`, with its origin.
  /// @param columns `prompt_tokens`, `tokens`, `lengths`
  transport::bundle value_columns(const columns::column_set& columns) const;

  critic_snapshot snapshot() const { return {learner_.snapshot(), origin()}; }

  /// The same columns as the critic would have added at that moment, bit for bit.
  transport::bundle value_columns(const columns::column_set& columns, const critic_snapshot& then) const;

  /// Computes the gradient of a step or of a part. It changes no parameter. It leaves `batch_report::trained_tokens` at
  /// 0, because the policy counts the tokens. The figures cover the step's parts up to this one, since the last resume.
  /// @param returns the critic's targets, if only the policy can compute them (V-trace)
  /// @param cut of a step that is made again, as in its record; nothing: as there is memory
  /// @throws train::too_large
  batch_report train(const train_batch& batch, std::stop_token stop, std::span<const float> returns = {},
                     std::optional<std::int64_t> cut = {});

  /// Applies the gradient of `train` and forgets the groups, or does nothing. A step that `train` has not seen is
  /// ignored.
  void end_step(const millrace::end_step& how);

  /// Writes `critic/` into an existing folder: weights as a sequence-classification model, the optimizer's state.
  void write_checkpoint(const std::filesystem::path& folder) const {
    begin_checkpoint(folder);
    end_checkpoint();
  }

  /// As those of `policy_core`.
  std::shared_future<std::string> begin_checkpoint(const std::filesystem::path& folder) const;

  void end_checkpoint() const { learner_.end_saving(); }

  bool keeps(std::uint64_t group) const { return groups_.has(group); }

  std::uint64_t parameter_count() const;

private:
  model::checkpoint model_; ///< without its parameters: they are the learner's
  train::value_learner learner_;
  columns::training_rules rules_;
  std::vector<train::reward_part> rewards_;   ///< as `policy_core` mixes them; empty: there is one
  train_batch batch_;                         ///< whose gradient waits; step 0: no gradient waits
  train::value_report report_;                ///< of that gradient
  std::optional<train::value_report> so_far_; ///< figures of the applied parts of the step under way
  int threads_ = 0;
  kept_groups groups_;
};

} // namespace millrace::roles
