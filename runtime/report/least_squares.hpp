#pragma once

#include <span>
#include <vector>

namespace millrace::report {

/// Coefficients, each at least 0, by which the regressors of each row come nearest to its value.
struct fit {
  std::vector<double> coefficients;
  double squares = 0; ///< of what is left, summed over the rows
};

/// Least squares over every choice of coefficients that are not 0: at most 4 of them.
/// @param rows regressors, as many in each; none: coefficients 0
fit non_negative_fit(std::span<const std::vector<double>> rows, std::span<const double> values);

} // namespace millrace::report
