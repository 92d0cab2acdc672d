#pragma once

#include "runtime/report/recorded_run.hpp"
#include "runtime/schedule/workload.hpp"

#include <string>
#include <vector>

namespace millrace::report {

/// The costs of a run, measured on a recorded run like it.
struct recorded_costs {
  schedule::workload costs;
  std::vector<std::string> notes; ///< costs that the trace does not show, a sentence each
};

/// Each cost is fitted to its causes:
///
/// - decoding: seconds of a step by occupied slots, and the slowdown beside training, out of the spans `decode`
/// - training: seconds of an update by tokens and by squared lengths (attention), the slowdown beside decoding, and the
///   extra time of the first update, out of the spans `train step N`; tokens of a prompt, and the share of flat groups
/// - publication: seconds from the end of a step to the end of the copy, from there to the end of layout, and the
///   slowdown of layout beside training
/// - columns: mean seconds between generated and fetched, by Little's law from the counter of groups that wait for
///   columns
/// - lengths: the lengths of the trained answers, by group
///
/// @param shape workers, slots, answers and the longest answer of the run to be predicted, and its `layout_contention`,
///              which a trace shows only if the run had it. With `ranks` above 1, seconds of an update that its
///              micro-batches do not take are those that the run's timings tell, and not fitted
/// @throws input_error if the run recorded no spans, no answers, or fewer than two steps
recorded_costs costs_of(const recorded_run& run, schedule::workload shape);

} // namespace millrace::report
