#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/roles/policy_core.hpp"
#include "runtime/rollout/engine.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace millrace::tools {

/// Groups that were answered, and their prompts by group.
struct answered_groups {
  std::vector<rollout::finished_group> groups;
  std::map<std::uint64_t, std::vector<std::int32_t>> prompts;
};

/// Seconds of a training, and the tokens that were trained.
struct trained_tokens {
  double seconds = 0;
  double tokens = 0;
  double prompt_tokens = 0;
};

/// The pipeline's policy, trained on groups that were answered, with rewards that differ: for measuring.
class measured_training {
public:
  static constexpr int most_repeats = 7; ///< of a training of which the median counts

  /// @param groups not empty; stay where they are
  /// @throws input_error for a model that cannot be read
  measured_training(const pipeline::pipeline& p, const answered_groups& groups);

  /// One training of so many groups; they come again where there are fewer.
  trained_tokens train(std::size_t groups);

  /// The same again and again, at least once and as often as fits into `for_s`: the median of the seconds.
  trained_tokens train_often(std::size_t groups, double for_s);

  /// The weights that it has now, as a learner publishes them.
  transport::bundle snapshot() const { return learning_.snapshot(steps_); }

  /// Where the same training took much longer at times, a sentence each.
  const std::vector<std::string>& notes() const { return notes_; }

private:
  const pipeline::pipeline& p_;
  const answered_groups& groups_;
  roles::policy_core learning_;
  std::uint32_t steps_ = 0;
  std::vector<std::string> notes_;
};

} // namespace millrace::tools
