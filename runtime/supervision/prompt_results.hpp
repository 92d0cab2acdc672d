#pragma once

#include "runtime/messages/add_columns.hpp"
#include "runtime/messages/prompts.hpp"
#include "runtime/pipeline/pipeline.hpp"

#include <map>
#include <string>

namespace millrace::supervision {

/// How the prompts of a step were answered, for a source whose rows results decide. The groups may be trained, or be
/// dropped because all their rewards are equal: either way they were measured.
class prompt_results {
public:
  explicit prompt_results(const pipeline::pipeline& p);

  /// A role has added its columns to a group. @param summary what it says of them
  void scored(std::uint64_t group, const std::map<std::string, summed>& summary);

  /// Those since the last call.
  prompts_measured take();

private:
  std::string figure_; ///< of a summary: the mean score of the rule that decides; "" = results decide nothing
  std::map<std::uint64_t, double> shares_;
};

} // namespace millrace::supervision
