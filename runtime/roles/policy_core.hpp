#pragma once

#include "runtime/columns/column_set.hpp"
#include "runtime/columns/training_columns.hpp"
#include "runtime/data/text_rows.hpp"
#include "runtime/messages/train.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/roles/kept_groups.hpp"
#include "runtime/roles/published_versions.hpp"
#include "runtime/train/learner.hpp"
#include "runtime/train/moving_average.hpp"
#include "runtime/train/reward_mix.hpp"
#include "runtime/train/step_record.hpp"
#include "runtime/transport/bundle.hpp"

#include <cstdint>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

namespace millrace::roles {

/// What the policy knows, without an actor: the groups it has fetched, the learner and the weights it publishes.
/// `keep`, `keeps` and `forget` may run beside the others, which belong to one thread.
class policy_core {
public:
  /// Loads the policy's model, or goes on from a checkpoint that `write_checkpoint` wrote.
  /// @throws input_error in one line: model or checkpoint unusable, log-probabilities of an unknown version
  /// @param seat among the processes that train this policy
  policy_core(const pipeline::pipeline& p, const std::filesystem::path& checkpoint, int threads,
              train::team_seat seat = {});

  /// The life of a rank that does not lead, as `learner::follow`.
  void follow() { learner_.follow(); }

  /// Keeps a group that was fetched. @returns whether all its rewards are the same
  /// @throws std::exception naming the column that is missing or of another length
  bool keep(std::uint64_t group, const columns::column_set& columns, std::string domain);
  void keep(train::training_group group);
  void forget(std::uint64_t group);

  /// One step or one of its parts; the batch's groups are forgotten unless it was interrupted.
  /// @param cuts of a step that is made again, as in its record; nothing: as there is memory
  /// @throws train::too_large
  batch_report train(const train_batch& batch, std::stop_token stop,
                     std::optional<std::vector<std::int64_t>> cuts = {});

  /// The critic's targets for the tokens of the last batch, if only the policy can compute them (V-trace); otherwise
  /// empty.
  std::vector<float> take_returns() { return std::exchange(returns_, {}); }

  /// A snapshot of the parameters of a version, as its model's `dtype` says; while a step is trained in parts, as they
  /// were before it.
  /// @throws std::logic_error if they are not those of `version` (any more)
  transport::bundle snapshot(std::uint32_t version) const;

  /// Publishes a version: its `snapshot`, with the adapter where one is trained, or the share of each rank from that
  /// rank.
  /// @throws as `snapshot`; std::runtime_error a rank is gone that has a share; train::too_large
  weight_shares publish(std::uint32_t version, published_versions& to) const;

  /// What another rank does for the first one beside training: it publishes its share of the parameters, and tells of
  /// the groups that it keeps. Before `follow`.
  void do_errands(std::shared_ptr<published_versions> to);

  /// Writes into an existing folder: `model` in Hugging Face layout, `optimizer`, and where the pipeline has them
  /// `adapter` in PEFT layout (then `model` is the merged model, or absent) and `ema`, the average. Between two parts
  /// of a step it writes the present weights, and `optimizer` also holds what the rest of the step needs.
  /// @throws input_error
  void write_checkpoint(const std::filesystem::path& folder) const {
    begin_checkpoint(folder);
    end_checkpoint();
  }

  /// The same, while the next step may begin: its first update waits until this rank has written.
  /// @returns what to wait for on another thread, so that `end_checkpoint` does not wait long @throws as
  /// `end_checkpoint`
  std::shared_future<std::string> begin_checkpoint(const std::filesystem::path& folder) const;

  /// Waits until all ranks have written. @throws input_error; std::runtime_error a rank is gone that has a share
  void end_checkpoint() const { learner_.end_saving(); }

  bool keeps(std::uint64_t group) const { return groups_.has(group); }

  std::uint64_t parameter_count() const;

private:
  /// A batch's groups, some of them as outlines, and how each came to be.
  struct batch_groups {
    std::vector<train::training_group> groups;
    std::vector<train::lineage> lineages;
  };

  batch_groups gathered(std::span<const std::uint64_t> batch) const;
  weight_shares published(std::uint32_t version, published_versions& to) const;
  transport::bundle whole_version(std::uint32_t version) const;
  collective::parcel publish_share(std::span<const std::int64_t> words, published_versions& to) const;
  void take_beginnings(std::span<train::training_group> groups) const;
  void check_version(std::uint32_t version) const;
  std::vector<train::training_group> texts_of(std::uint64_t step) const;
  void end_step(const train_batch& batch, batch_report& report);

  const pipeline::policy_table table_;
  const bool leads_;         ///< the first of its ranks
  const bool shares_groups_; ///< with other ranks
  model::checkpoint model_;  ///< without its parameters: they are the learner's
  train::learner learner_;
  std::optional<train::moving_average> average_;
  std::optional<data::text_rows> texts_;
  precision published_as_;
  bool in_place_; ///< whoever takes versions reads them where they are trained
  columns::training_rules rules_;
  std::vector<train::reward_part> rewards_; ///< empty: there is one
  int threads_ = 0;
  std::uint32_t version_ = 0;
  bool mismatch_is_known_ = false; ///< people have been told, or correct it
  std::int64_t idle_steps_ = 0;    ///< at the run's start: only the critic trains
  std::vector<float> returns_;
  std::optional<train::step_report> so_far_; ///< figures of the trained parts of the step under way
  kept_groups groups_;
};

} // namespace millrace::roles
