#pragma once

#include "runtime/report/recorded_run.hpp"

#include <span>
#include <string>

namespace millrace::report {

/// One HTML page that explains runs, several side by side: figures, curves, staleness, where the time and the tokens
/// went. Complete in itself: styles and pictures are inside, there is no script, and nothing is fetched.
/// @param runs at least one
std::string html_report(std::span<const recorded_run> runs);

} // namespace millrace::report
