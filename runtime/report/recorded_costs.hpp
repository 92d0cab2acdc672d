#pragma once

#include "runtime/report/recorded_run.hpp"
#include "runtime/schedule/workload.hpp"

#include <string>
#include <vector>

namespace millrace::report {

/// What a recorded run says of the costs of a run like it.
struct recorded_costs {
  schedule::workload costs;
  std::vector<std::string> notes; ///< what the trace could not tell, a sentence each
};

/// Each cost from what causes it:
///
/// - decoding: a step's seconds by occupied slots, and how much slower beside training; over spans `decode`
/// - training: an update's seconds by tokens and by squared lengths (attention), and how much slower beside decoding;
///   over spans `train step N`; what the first one took more
/// - publication: from the end of a step to the copy's end, from there to the end of staging, and how much slower that
///   is beside training
/// - columns: the mean time between generated and fetched, by Little's law over the counter of groups that wait for them
/// - lengths: those of the trained groups' answers, by group
///
/// @param shape workers, slots, answers and the longest answer of the run to be predicted, and its `stage_contention`,
///              which no trace of a run without it could tell
/// @throws input_error if the run recorded no spans, no answers, or fewer than two steps
recorded_costs costs_of(const recorded_run& run, schedule::workload shape);

} // namespace millrace::report
