#pragma once

#include <span>
#include <string>

namespace millrace::telemetry {

/// A curve of block characters with axis numbers, for values at 1, 2, 3, ...: `rows` lines high and at most `columns`
/// wide, plus the axes. More values than columns: each column is the mean of its share. A value that is not finite
/// leaves a gap. Starts at 0 unless that would flatten the curve. "" if no value is finite.
std::string text_curve(std::span<const double> values, int columns = 60, int rows = 8);

} // namespace millrace::telemetry
