#pragma once

#include "actors/learning.hpp"
#include "actors/rollout_requests.hpp"
#include "actors/source.hpp"
#include "actors/stage_shell.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/train/lineage.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::actors {

/// What became of a step, or of a part of one, that was made again.
struct replayed_step {
  std::optional<std::uint64_t> group; ///< the first whose columns are not those of the run
  std::string difference;             ///< in words; "" if every group was the same
  batch_report report;                ///< of training, with the step's metrics if it ended; empty where a group differed
};

/// Makes a recorded run again, step after step, in one thread of control: each group out of its prompt, its seed and the
/// versions that sampled its tokens, then rules and references, then the learner. What was asynchronous in the run (which
/// groups a batch held, where new weights fell into an answer) comes out of the record, so nothing is left to timing.
class replay {
public:
  /// Loads the models. @throws input_error for a pipeline with a role that cannot be made again
  explicit replay(const pipeline::pipeline& p, int learner_threads);

  /// @param oldest_needed the oldest version that this or a later step needs: older weights are let go of
  /// @throws input_error if the record wants a version that no earlier step made
  replayed_step step(const train::step_lineage& recorded, std::uint32_t oldest_needed);

private:
  using shared_policy = std::shared_ptr<const model::decoder>;

  struct stage {
    const pipeline::role* role;
    std::shared_ptr<stage_work> work;
  };

  shared_policy policy_of(std::uint32_t version);
  prompt_row row_of(std::uint64_t group);
  rollout::finished_group generate(rollout::group_request request, const train::lineage& recorded);
  train::training_group make(const train::lineage& recorded);

  const pipeline::pipeline& pipeline_;
  const pipeline::role& rollout_role_;
  learning learning_;
  model::checkpoint words_;
  rollout_requests requests_;
  std::uint32_t version_ = 0;
  std::map<std::uint32_t, shared_policy> policies_; ///< packed
  source_state source_;
  std::map<std::uint64_t, prompt_row> rows_; ///< read and not yet trained
  std::uint64_t next_row_ = 0;
  std::vector<stage> stages_;
};

} // namespace millrace::actors
