#pragma once

#include "actors/critic_learning.hpp"
#include "actors/learning.hpp"
#include "actors/reference_weights.hpp"
#include "actors/rollout_requests.hpp"
#include "actors/source.hpp"
#include "actors/stage_shell.hpp"
#include "actors/step_figures.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/train/lineage.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace millrace::actors {

/// What became of a step, or of a part of one, that was made again.
struct replayed_step {
  std::optional<std::uint64_t> group; ///< the first whose columns are not those of the run
  std::string difference;             ///< in words; "" if every group was the same
  batch_report report;                ///< of training, with the step's figures if it ended; empty where a group differed
};

/// Makes one session of a recorded run again, step after step, in one thread of control: each group out of its prompt, its
/// seed and the versions that sampled its tokens (or its row's demonstrations), then every stage with the weights that it had
/// for that group, then the learner and beside it the critic. What was asynchronous in the run (which groups a batch held,
/// where new weights fell into an answer, how far the critic was when it valued one) comes out of the record, so nothing is
/// left to timing.
class replay {
public:
  /// Loads the models.
  /// @param record the parts of steps that the session trained, in order, at least one
  /// @param checkpoint of another `replay`, of the session before; "": the session began the run
  /// @throws input_error for a pipeline with a role that cannot be made again, or a record that lacks what it takes
  replay(const pipeline::pipeline& p, std::vector<train::step_lineage> record, const std::filesystem::path& checkpoint);
  replay(const replay&) = delete;
  replay& operator=(const replay&) = delete;

  /// @param index in the record, from 0, one after another
  /// @throws input_error if the record wants weights that no earlier step made
  replayed_step step(std::size_t index);

  /// What a session that goes on from here needs, into a folder that is there. @throws input_error
  void write_checkpoint(const std::filesystem::path& folder) const;

private:
  using shared_policy = std::shared_ptr<const model::decoder>;
  using maker = std::function<stage_result(const process_group&, const column_set&, const train::lineage&)>;

  /// A rollout, or demonstrations in its place.
  struct answering_role {
    const pipeline::role* role;
    model::checkpoint words;
    std::optional<rollout_requests> requests; ///< of a rollout
  };

  struct stage {
    const pipeline::role* role;
    maker make;
  };

  /// The oldest weights that a part of a step or one after it needs.
  struct oldest_weights {
    std::uint32_t policy = 0, critic = 0, reference = 0;
  };

  maker maker_of(const pipeline::role& role, const std::filesystem::path& checkpoint);
  maker reward_maker(const pipeline::reward_model_table& table);
  maker critic_maker(const pipeline::critic_table& table, const std::filesystem::path& checkpoint);
  maker reference_maker(const pipeline::role& role, const pipeline::reference_table& table, const std::filesystem::path& checkpoint);
  int recorded_threads(const std::string& column) const;
  void look_ahead();

  void follow(std::uint32_t version);
  shared_policy policy_of(std::uint32_t version);
  const critic_snapshot& critic_of(std::uint32_t version);
  prompt_row row_of(std::uint64_t group);
  const answering_role& answered(const train::lineage& recorded) const;
  rollout::finished_group generate(const answering_role& sampler, rollout::group_request request, const train::lineage& recorded);
  transport::bundle answers_of(const prompt_row& row, const train::lineage& recorded);
  train::training_group make(const train::lineage& recorded);
  batch_report train(const train_batch& batch);

  const pipeline::pipeline& pipeline_;
  const std::vector<train::step_lineage> record_;
  std::vector<oldest_weights> oldest_; ///< by index in the record
  std::vector<answering_role> answering_;
  std::optional<model::model_config> sampled_; ///< of the model that rollouts sample from, if there are some
  learning learning_;
  std::uint32_t version_;
  std::map<std::uint32_t, shared_policy> policies_; ///< packed
  source_state source_;
  std::set<std::uint64_t> wanted_rows_;
  std::map<std::uint64_t, prompt_row> rows_; ///< read, wanted and not yet trained
  std::uint64_t next_row_ = 0;
  std::unique_ptr<critic_learning> critic_;
  std::string critic_name_;
  int critic_threads_ = 0;
  std::map<std::uint32_t, critic_snapshot> critics_; ///< by updates
  std::string reference_name_;                       ///< of one that follows the policy
  std::map<std::uint32_t, std::shared_ptr<reference_weights>> references_; ///< by version
  std::vector<stage> stages_;
  std::map<std::uint64_t, std::map<std::string, double>> summaries_; ///< of groups made and not yet trained
  step_figures figures_;                                             ///< of the step under way
};

} // namespace millrace::actors
