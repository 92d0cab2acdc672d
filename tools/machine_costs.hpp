#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/schedule/workload.hpp"

#include <string>
#include <vector>

namespace millrace::tools {

/// What this machine says of a pipeline's costs in a few seconds.
struct machine_costs {
  schedule::workload costs;
  std::vector<std::string> notes; ///< what was not measured, a sentence each
};

/// Loads the pipeline's model and measures, with the threads that the roles would have: a decode step by occupied
/// slots, on the pipeline's own prompts; the pipeline's rules on the answers; training of a group, the median of
/// several times; a copy of the weights and their layout for the kernels; and decoding and training beside each other.
/// Lengths are those of the answers if they end within the time, else the longest allowed. Answers that are episodes
/// are played with the pipeline's own environment, which is started for it: turns, seconds to a reply and observed
/// tokens are what they were.
/// @throws input_error for a model above 2 GB, which takes longer than that, or a pipeline whose prompts cannot be had
machine_costs measure_machine(const pipeline::pipeline& p, schedule::workload shape);

} // namespace millrace::tools
