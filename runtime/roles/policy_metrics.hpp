#pragma once

#include "runtime/train/step_report.hpp"

#include <map>
#include <string>

namespace millrace::roles {

/// Why a step was not applied, or what was left out of it; with the groups.
std::string complaint_of(const train::step_report& report);

/// The figures of a step under the names that dashboards know.
std::map<std::string, double> metrics_of(const train::step_report& report);

} // namespace millrace::roles
