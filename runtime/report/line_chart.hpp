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

/// Lines over a common axis, with a legend where there is more than one. "" where no series has a finite point.
std::string line_chart(std::string_view title, std::string_view x_name, std::string_view y_name, std::span<const series> lines,
                       bool from_zero = true);

/// The class that colours the n-th line of a chart.
std::string line_class(std::size_t n);

} // namespace millrace::report
