#pragma once

#include "runtime/train/step_report.hpp"

#include <map>
#include <string>

namespace millrace::roles {

/// Why a step was not applied, or what was left out of it; with the groups.
std::string complaint_of(const train::step_report& report);

/// Nats a token, mean over the tokens of the weights at hand: a tenth of the usual clip range of 0.2. From there on it
/// is rounding, and no longer what was learned, that decides which ratios are clipped.
inline constexpr double large_mismatch = 0.02;

/// What to do about log-probabilities of rollout and learner that differ by more than `large_mismatch`; "" where they
/// do not.
std::string mismatch_complaint_of(const train::step_report& report);

/// The figures of a step under the names that dashboards know.
std::map<std::string, double> metrics_of(const train::step_report& report);

} // namespace millrace::roles
