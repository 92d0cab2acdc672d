#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/pipeline/planned_abilities.hpp"
#include "runtime/roles/abilities.hpp"
#include "runtime/roles/critic_core.hpp"
#include "runtime/roles/policy_core.hpp"
#include "runtime/roles/reference_core.hpp"
#include "runtime/roles/rollout_requests.hpp"
#include "runtime/roles/source_role.hpp"
#include "runtime/supervision/step_figures.hpp"
#include "runtime/train/step_record.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace millrace::replay {

/// What became of a step, or of a part of one, that was made again.
struct replayed_step {
  std::optional<std::uint64_t> group; ///< the first whose columns are not those of the run
  std::string difference;             ///< in words; "" if every group was the same
  batch_report report; ///< of training, with the step's figures if it ended; empty where a group differed
};

/// Makes one session of a recorded run again, step after step, in one thread of control: each group out of its prompt,
/// its seed and the versions that sampled its tokens (or its row's demonstrations), then every role between
/// with the weights that it had for that group, then the learner and beside it the critic. What was asynchronous in the
/// run (which groups a batch held, where new weights fell into an answer, how far the critic was when it valued one)
/// comes out of the record, so nothing is left to timing.
class replayer {
public:
  /// Loads the models.
  /// @param record the parts of steps that the session trained, in order, at least one
  /// @param checkpoint of another `replayer`, of the session before; "": the session began the run
  /// @throws input_error for a pipeline with a role that cannot be made again, or a record that lacks what it takes
  replayer(const pipeline::pipeline& p, std::vector<train::step_record> record,
           const std::filesystem::path& checkpoint);
  replayer(const replayer&) = delete;
  replayer& operator=(const replayer&) = delete;

  /// @param index in the record, from 0, one after another
  /// @throws input_error if the record wants weights that no earlier step made
  replayed_step step(std::size_t index);

  /// What a session that goes on from here needs, into a folder that is there. @throws input_error
  void write_checkpoint(const std::filesystem::path& folder) const;

private:
  using shared_policy = std::shared_ptr<const model::decoder>;

  /// A rollout, or demonstrations in its place.
  struct answering_role {
    const pipeline::role* role;
    model::checkpoint words;
    std::optional<roles::rollout_requests> requests; ///< of a rollout
  };

  /// A role between answers and policy.
  struct adding_role {
    const pipeline::role* role;
    std::function<roles::added_columns(const columns::column_set&, const train::lineage&)> add;
  };

  /// The oldest weights that a part of a step or one after it needs.
  struct oldest_weights {
    std::uint32_t policy = 0, critic = 0, reference = 0;
  };

  /// What the step's figures take from a group.
  struct group_summary {
    std::map<std::string, summed> figures;
    std::string source; ///< name of the one that its prompt is of
  };

  void join(const pipeline::role& role, const pipeline::source_table& table);
  void join(const pipeline::role& role, const pipeline::rollout_table& table);
  void join(const pipeline::role& role, const pipeline::demonstrations_table& table);
  void join(const pipeline::role& role, const pipeline::environment_table& table);
  template <pipeline::only_adds_columns Table>
  void join(const pipeline::role& role, const Table& table);
  void join(const pipeline::role& role, const pipeline::reward_model_table& table);
  void join(const pipeline::role& role, const pipeline::reference_table& table);
  void join(const pipeline::role& role, const pipeline::critic_table& table);
  void join(const pipeline::role& role, const pipeline::policy_table& table);
  void join(const pipeline::role& role, const pipeline::evaluation_table& table);
  int recorded_threads(const std::string& column) const;
  void look_ahead();

  void follow(std::uint32_t version);
  shared_policy policy_of(std::uint32_t version);
  const roles::critic_snapshot& critic_of(std::uint32_t version);
  const roles::source_prompt& row_of(const train::lineage& recorded);
  const answering_role& answered(const train::lineage& recorded) const;
  rollout::finished_group generate(const answering_role& sampler, rollout::group_request request,
                                   const train::lineage& recorded);
  transport::bundle answers_of(const columns::column_set& row, const train::lineage& recorded);
  train::training_group make(const train::lineage& recorded);
  batch_report train(const train_batch& batch, const train::step_record& recorded);

  const pipeline::pipeline& pipeline_;
  const std::filesystem::path checkpoint_;
  const std::vector<train::step_record> record_;
  std::vector<oldest_weights> oldest_; ///< by index in the record
  std::vector<answering_role> answering_;
  std::optional<model::model_config> sampled_; ///< of the model that rollouts sample from, if there are some
  sampling_precision sampled_as_ = sampling_precision::float32;
  roles::policy_core policy_;
  std::uint32_t version_;
  std::map<std::uint32_t, shared_policy> policies_; ///< packed
  roles::source_role source_;
  const columns::training_rules training_rules_;
  std::set<std::uint64_t> wanted_rows_;
  std::map<std::uint64_t, roles::source_prompt> rows_; ///< read, wanted and not yet trained
  std::uint64_t next_row_ = 0;
  std::unique_ptr<roles::critic_core> critic_;
  std::string critic_name_;
  int critic_threads_ = 0;
  std::map<std::uint32_t, roles::critic_snapshot> critics_;                    ///< by updates
  std::string reference_name_;                                                 ///< of one that follows the policy
  std::map<std::uint32_t, std::shared_ptr<roles::reference_core>> references_; ///< by version
  std::vector<adding_role> adders_;
  std::map<std::uint64_t, group_summary> summaries_; ///< of groups made and not yet trained
  supervision::step_figures figures_;                ///< of the step under way
};

} // namespace millrace::replay
