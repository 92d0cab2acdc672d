#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::report {

/// One line of a chart. A value that is not finite leaves a gap.
struct series {
  std::string name;
  std::vector<std::pair<double, double>> points; ///< x ascending
  bool stepped = false;                          ///< holds its value until the next point
};

/// Lines over a common axis that includes 0, with a legend if there are several. "" if no line has a finite point.
std::string line_chart(std::string_view title, std::string_view x_name, std::string_view y_name,
                       std::span<const series> lines);

/// The class that colours the n-th line of a chart.
std::string line_class(std::size_t n);

} // namespace millrace::report
