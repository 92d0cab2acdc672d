#pragma once

#include "runtime/columns/column_set.hpp"
#include "runtime/pipeline/pipeline.hpp"

#include <string>
#include <vector>

namespace millrace::tools {

/// What a pipeline's rules take, and where they failed.
struct scoring_figures {
  double seconds = 0;             ///< from a group's columns to the scores of its slowest rule verifier: the median
  std::vector<std::string> notes; ///< of verifiers that could not score groups, a sentence each
};

/// Scores groups one after another, as many as fit into some seconds, at least one. Rules run as in a run, with their
/// threads, processes and deadlines. No rule verifiers take no time.
/// @param groups columns of the source and the rollout; at least one
/// @throws pipeline::pipeline_errors for rules that cannot be used
scoring_figures measured_scoring(const pipeline::pipeline& p, const std::vector<columns::column_set>& groups);

} // namespace millrace::tools
