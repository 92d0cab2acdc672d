#include "algorithms/pass_at_k.hpp"

#include <stdexcept>
#include <string>

namespace millrace::algorithms {

double pass_at_k(std::int64_t n, std::int64_t c, std::int64_t k) {
  if (n < 1)
    throw std::invalid_argument("pass_at_k: n: want at least 1, got " + std::to_string(n));
  if (c < 0 || c > n)
    throw std::invalid_argument("pass_at_k: c: want 0 to n = " + std::to_string(n) + ", got " + std::to_string(c));
  if (k < 1 || k > n)
    throw std::invalid_argument("pass_at_k: k: want 1 to n = " + std::to_string(n) + ", got " + std::to_string(k));
  if (n - c < k)
    return 1;
  double none = 1;
  for (std::int64_t i = n - c + 1; i <= n; ++i)
    none *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - none;
}

} // namespace millrace::algorithms
