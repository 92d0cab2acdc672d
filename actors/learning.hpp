#pragma once

#include "actors/column_set.hpp"
#include "actors/policy.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/train/learner.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>

namespace millrace::actors {

/// The training columns of one group. @throws std::exception naming the column that is missing or of another length
train::training_group training_group_of(std::uint64_t id, const column_set& columns);

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

  /// One optimizer step; the batch's groups are forgotten unless it was interrupted.
  batch_report train(const train_batch& batch, std::stop_token stop);

  /// A snapshot of the parameters. @throws std::logic_error if they are not those of `version` (any more)
  transport::bundle snapshot(std::uint32_t version) const;

  /// Weights in Hugging Face layout and the optimizer's state, into a folder that is there. @throws input_error
  void write_checkpoint(const std::filesystem::path& folder) const;

  std::uint64_t parameter_count() const;

private:
  model::checkpoint model_; ///< without its parameters: they are the learner's
  train::learner learner_;
  std::uint32_t version_ = 0;
  std::mutex mutex_;
  std::map<std::uint64_t, train::training_group> groups_;
};

} // namespace millrace::actors
