#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace millrace {

/// The values that a field may hold, beyond its C++ type. They stand beside the field in the `visit` of its table.
struct limits {
  double low = -std::numeric_limits<double>::infinity(); ///< smallest number allowed
  double high = std::numeric_limits<double>::infinity(); ///< largest number allowed
  bool above_low = false;                                ///< `low` itself is not allowed
  bool or_zero = false;                                  ///< 0 is allowed beside the range
  bool whole = false;                                    ///< only integers, also where the C++ type holds others
  std::vector<std::string> words;                        ///< if not empty: the only strings allowed
  bool needed = false;                                   ///< no default: the key must be written, and not be empty
};

/// Whether a number lies within the limits. NaN does not.
inline bool within(double x, const limits& allowed) {
  if (allowed.or_zero && x == 0)
    return true;
  return x >= allowed.low && x <= allowed.high && !(allowed.above_low && x == allowed.low)
         && !(allowed.whole && x != std::floor(x));
}

/// "from 1 to 100", "above 0 up to 1", "0, or above 1 up to 10"; empty without bounds.
std::string range_of(const limits& allowed);

/// "an integer from 1 to 100", "a number above 0": `thing` and its range.
std::string in_words(const std::string& thing, const limits& allowed);

inline limits any() {
  return {};
}

inline limits between(double low, double high) {
  limits l;
  l.low = low;
  l.high = high;
  return l;
}

inline limits at_least(double low) {
  return between(low, std::numeric_limits<double>::infinity());
}

inline limits above(double low, double high) {
  limits l = between(low, high);
  l.above_low = true;
  return l;
}

/// 0, or a number above `low` up to `high`.
inline limits zero_or_above(double low, double high) {
  limits l = above(low, high);
  l.or_zero = true;
  return l;
}

inline limits whole_between(double low, double high) {
  limits l = between(low, high);
  l.whole = true;
  return l;
}

inline limits one_of(std::vector<std::string> words) {
  limits l;
  l.words = std::move(words);
  return l;
}

inline limits needed(limits l = {}) {
  l.needed = true;
  return l;
}

} // namespace millrace
