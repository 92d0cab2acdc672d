#pragma once

#include "runtime/schedule/prediction.hpp"
#include "runtime/schedule/scheduler.hpp"
#include "runtime/schedule/workload.hpp"

#include <functional>
#include <vector>

namespace millrace::schedule {

/// Sees every event with the actions it led to.
using observer = std::function<void(const event&, const std::vector<action>&, const scheduler&, double now_s)>;

/// Runs the scheduler of a real run under virtual time until it finishes. Deterministic.
/// @throws input_error for a schedule or costs out of range
/// @throws std::logic_error if nothing is left to happen before the run has finished
prediction simulate(const config& schedule, const workload& costs, const observer& observe = {});

} // namespace millrace::schedule
