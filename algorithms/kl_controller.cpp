#include "algorithms/kl_controller.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace millrace::algorithms {

double next_kl_coefficient(double coefficient, double kl, std::int64_t answers, const kl_control& control) {
  if (!(control.target >= 0))
    throw std::invalid_argument("KL target: " + std::to_string(control.target) + ", want >= 0");
  if (!(control.horizon > 0))
    throw std::invalid_argument("KL horizon: " + std::to_string(control.horizon) + ", want > 0");
  if (control.target == 0 || !std::isfinite(kl))
    return coefficient;
  const double error = std::clamp(kl / control.target - 1, -0.2, 0.2);
  return std::max(0.0, coefficient * (1 + error * static_cast<double>(answers) / control.horizon));
}

} // namespace millrace::algorithms
