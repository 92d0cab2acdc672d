#pragma once

#include "runtime/pipeline/wording.hpp"
#include "runtime/telemetry/printed.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace millrace::report {

using pipeline::escaped;
using telemetry::printed;

/// A number for people: `digits` significant ones, more where it is larger; thousands separated from 10,000 on.
std::string in_figures(double value, int digits = 3);

/// Round numbers that cover [low, high], about `count` of them.
std::vector<double> ticks_between(double low, double high, int count = 5);

/// What the x axis shows. Whoever draws words labels them.
enum class x_axis { numbers, words };

/// The plotting area of a chart: data coordinates to pixels, axes, grid and labels. Pixels count from the top left.
class frame {
public:
  static constexpr int width = 640, height = 240;
  static constexpr int left = 56, right = 12, top = 12, bottom = 36;

  /// An empty range is widened.
  frame(double x_low, double x_high, double y_low, double y_high);

  double x(double value) const;
  double y(double value) const;
  /// Grid lines, tick labels and the names of the axes, as SVG elements.
  std::string axes(std::string_view x_name, std::string_view y_name, x_axis x = x_axis::numbers) const;

private:
  double x_low_, x_high_, y_low_, y_high_;
};

/// A whole drawing with its caption: `<figure class="chart">`. @param body SVG elements
std::string figure(std::string_view title, int width, int height, std::string_view body, std::string_view legend = {});

/// The key of a legend: a coloured square and a word.
std::string legend_entry(std::string_view css_class, std::string_view word);

} // namespace millrace::report
