#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/schedule/workload.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace millrace::tools {

/// Costs of a run before it is run. Processes, slots and answers are the pipeline's; everything else is measured or given.
struct plan_costs {
  std::filesystem::path trace;    ///< a run's folder (`report::costs_of`), or a .csv of lengths: a group a line, tokens of its answers; or empty
  std::vector<std::string> given; ///< `name=value` by the names of `schedule::workload`; after the trace
};

struct planned_costs {
  schedule::workload costs;
  std::vector<std::string> notes; ///< why they may not be those of the run, a sentence each
};

/// @throws input_error for a trace that cannot be read, an unknown name, or when nothing says what the costs are
planned_costs costs_of(const pipeline::pipeline& p, const plan_costs& from);

/// The costs as one line of `name=value`, but for lengths; the decode table at its ends.
std::string in_words(const schedule::workload& costs);

} // namespace millrace::tools
