#include "runtime/words/limits.hpp"

#include "runtime/words/decimal.hpp"

#include <cmath>

namespace millrace {

std::string range_of(const limits& allowed) {
  std::string out = allowed.or_zero ? "0, or" : "";
  if (std::isfinite(allowed.low))
    out += (allowed.above_low ? " above " : " from ") + decimal(allowed.low);
  if (std::isfinite(allowed.high))
    out += (allowed.above_low ? " up to " : " to ") + decimal(allowed.high);
  return out.starts_with(' ') ? out.substr(1) : out;
}

std::string in_words(const std::string& thing, const limits& allowed) {
  const std::string range = range_of(allowed);
  return (allowed.whole && thing == "a number" ? "a whole number"
          : allowed.or_zero                    ? thing + ':'
                                               : thing)
         + (range.empty() ? "" : ' ' + range);
}

} // namespace millrace
