#include "runtime/words/limits.hpp"

#include "runtime/words/decimal.hpp"

#include <cmath>

namespace millrace {

std::string in_words(const std::string& thing, const limits& allowed) {
  std::string out = thing;
  if (std::isfinite(allowed.low))
    out += (allowed.above_low ? " above " : " from ") + decimal(allowed.low);
  if (std::isfinite(allowed.high))
    out += (allowed.above_low ? " up to " : " to ") + decimal(allowed.high);
  return out;
}

} // namespace millrace
