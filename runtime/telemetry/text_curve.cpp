#include "runtime/telemetry/text_curve.hpp"

#include "runtime/telemetry/printed.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace millrace::telemetry {
namespace {

constexpr std::array<const char*, 9> blocks{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr int parts = 8; // of one block
constexpr int rows_a_label = 2;

struct axis {
  double low;
  double high;
};

/// A round number, at least `value`.
double round_up(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double factor : {1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0})
    if (factor * power >= value * (1 - 1e-9))
      return factor * power;
  return 10 * power;
}

/// A range over all values that makes the `intervals` between labels round.
axis axis_for(double least, double most, int intervals) {
  if (least == most)
    return least == 0 ? axis{0, 1} : axis{std::min(least, 0.0), std::max(most, 0.0)};
  if (least >= 0 && least <= 0.5 * most)
    least = 0;
  double interval = round_up((most - least) / intervals);
  double low = std::floor(least / interval + 1e-9) * interval;
  if (low + interval * intervals < most - 1e-9 * interval) {
    interval = round_up(interval * (1 + 1.0 / intervals));
    low = std::floor(least / interval + 1e-9) * interval;
  }
  return {low, std::max(low + interval * intervals, most)};
}

/// One value a column: the mean of the finite values of its share, NaN if there are none.
std::vector<double> in_columns(std::span<const double> values, std::size_t columns) {
  const std::size_t count = values.size();
  const std::size_t wide = count >= columns ? columns : columns / count * count;
  std::vector<double> means(wide);
  for (std::size_t column = 0; column < wide; ++column) {
    const std::size_t begin = column * count / wide;
    const std::size_t end = std::max((column + 1) * count / wide, begin + 1);
    double sum = 0;
    int finite = 0;
    for (std::size_t i = begin; i < end; ++i) {
      if (std::isfinite(values[i])) {
        sum += values[i];
        ++finite;
      }
    }
    means[column] = finite > 0 ? sum / finite : std::numeric_limits<double>::quiet_NaN();
  }
  return means;
}

/// How many eighths of a block high a value is drawn; at least one, so that it can be told from a gap.
int height_of(double value, const axis& range, int rows) {
  if (!std::isfinite(value))
    return 0;
  const double part = (value - range.low) / (range.high - range.low);
  return std::clamp(static_cast<int>(std::lround(part * rows * parts)), 1, rows * parts);
}

std::string label(double value) {
  return printed("%7.3g", std::abs(value) < 1e-12 ? 0.0 : value);
}

/// The numbers below: the first step at the left, the last at the right.
std::string step_numbers(std::size_t wide, std::size_t steps) {
  const auto last = std::to_string(steps);
  if (steps == 1 || wide < last.size() + 2)
    return "1";
  std::string line(wide - last.size(), ' ');
  line.front() = '1';
  return line + last;
}

} // namespace

std::string text_curve(std::span<const double> values, int columns, int rows) {
  double least = std::numeric_limits<double>::infinity();
  double most = -least;
  if (values.empty() || columns < 1 || rows < 1)
    return "";
  const auto means = in_columns(values, static_cast<std::size_t>(columns));
  for (const double value : means) {
    if (std::isfinite(value)) {
      least = std::min(least, value);
      most = std::max(most, value);
    }
  }
  if (least > most)
    return "";
  const axis range = axis_for(least, most, std::max(rows / rows_a_label, 1));
  std::string text;
  for (int row = rows; row > 0; --row) {
    const bool marked = (rows - row) % rows_a_label == 0;
    text += marked ? label(range.low + (range.high - range.low) * row / rows) + " ┤" : std::string(7, ' ') + " │";
    for (const double value : means)
      text += blocks[static_cast<std::size_t>(std::clamp(height_of(value, range, rows) - (row - 1) * parts, 0, parts))];
    while (text.back() == ' ')
      text.pop_back();
    text += "\n";
  }
  text += label(range.low) + " ┼";
  for (std::size_t column = 0; column < means.size(); ++column)
    text += "─";
  return text + "\n" + std::string(9, ' ') + step_numbers(means.size(), values.size()) + "\n";
}

} // namespace millrace::telemetry
