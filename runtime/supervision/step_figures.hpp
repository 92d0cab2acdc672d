#pragma once

#include "runtime/messages/add_columns.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace millrace::supervision {

/// The figures of a step that roles and the ledger add to those of the learner, summed over the parts of the step.
class step_figures {
public:
  step_figures() = default;

  /// @throws input_error for text that `saved` did not write
  explicit step_figures(std::string_view saved);

  /// @param source name of the one that its prompt is of, where the pipeline has several; else ""
  void add_group(const std::map<std::string, summed>& summary, const std::string& source);

  void add_masked(std::int64_t tokens) { masked_ += tokens; }

  /// Means over the answers of the groups, rewards by source over groups. The mean of `reward` itself is the learner's
  /// to say.
  std::map<std::string, double> figures() const;

  /// For a checkpoint within a step: one JSON object.
  std::string saved() const;

private:
  /// The groups from one source.
  struct from_source {
    std::int64_t groups = 0, with_reward = 0;
    double reward = 0; ///< sum of their mean rewards
  };

  std::int64_t masked_ = 0; ///< tokens
  std::map<std::string, summed> sums_;
  std::map<std::string, from_source> sources_;
};

} // namespace millrace::supervision
