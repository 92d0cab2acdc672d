#pragma once

#include "runtime/columns/column_set.hpp"
#include "runtime/pipeline/pipeline.hpp"

#include <vector>

namespace millrace::tools {

/// Seconds that a group's scores take, from its columns to those of its slowest rule verifier: the median over groups,
/// one after another. Rules run as in a run, with their threads, processes and deadlines; 0 without rule verifiers.
/// @param groups columns of the source and the rollout; at least one
/// @throws pipeline::pipeline_errors for rules that cannot be used
double scoring_s(const pipeline::pipeline& p, const std::vector<columns::column_set>& groups);

} // namespace millrace::tools
