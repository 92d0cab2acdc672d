#include "runtime/words/decimal.hpp"

#include <charconv>
#include <cmath>
#include <cstdint>

namespace millrace {

std::string decimal(double x) {
  if (std::isnan(x))
    return "nan";
  if (std::isinf(x))
    return x < 0 ? "-inf" : "inf";
  if (x == std::floor(x) && std::abs(x) <= 9007199254740992.0)
    return std::to_string(static_cast<std::int64_t>(x));
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, x).ptr;
  return {buffer, end};
}

} // namespace millrace
