#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::report {

/// A set of bars side by side with others: value by category.
struct bar_set {
  std::string name;
  std::vector<std::pair<std::string, double>> bars; ///< category, finite value >= 0
};

/// Bars over categories in the order of their first mention. "" where there is none.
std::string bar_chart(std::string_view title, std::string_view x_name, std::string_view y_name,
                      std::span<const bar_set> sets);

} // namespace millrace::report
