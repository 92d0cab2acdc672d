#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/schedule/virtual_time.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace millrace::tools {

/// Costs of a run before it is run. Processes, slots and answers are the pipeline's; everything else is measured or given.
///
/// A recorded run's folder gives: lengths by group (trajectories), the decode step by occupied slots, staging, columns
/// and checkpoints (spans of trace.json), the update by its tokens (metrics.jsonl), and how much slower each of decoding
/// and training is while the other one runs.
struct plan_costs {
  std::filesystem::path trace;    ///< a run's folder, or a .csv of lengths: a group a line, tokens of its answers; or empty
  std::vector<std::string> given; ///< `name=value` by the names of `schedule::workload`; after the trace
};

/// @throws input_error for a trace that cannot be read, an unknown name, or when nothing says what the costs are
schedule::workload costs_of(const pipeline::pipeline& p, const plan_costs& from);

/// The costs as one line of `name=value`, but for lengths and the decode table.
std::string in_words(const schedule::workload& costs);

} // namespace millrace::tools
