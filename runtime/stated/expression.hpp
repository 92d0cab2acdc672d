#pragma once

#include "runtime/stated/exact_number.hpp"

#include <complex>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::stated {

/// A formula as a tree, so that two spellings of the same value can be compared: numbers, names, sums, products,
/// fractions, powers, roots, trigonometric functions, logarithms, |x|, n!, binomials, \pi, e, i.
///
/// It is bounded: a text of more than 1024 bytes, 48 levels or 512 parts is none.
class expression {
public:
  /// @param plain what `plain_math` gives
  /// @returns nothing for a text with anything that is not known for certain: a word, an unknown command
  static std::optional<expression> read(std::string_view plain);

  /// The value, without rounding; nothing where a name, a root or a function is in it.
  std::optional<exact_number> exact() const;

  /// A value and how far rounding may have moved it.
  struct rounded_value {
    std::complex<double> value;
    double error = 0;
  };

  enum class domain : std::uint8_t { real, complex };

  /// The value where each name has a number that follows from the name and `point`. @returns nothing where it is not
  /// defined: a division by 0, an overflow, in `domain::real` a root or logarithm of a negative number
  std::optional<rounded_value> at(std::uint64_t point, domain numbers) const;

  /// Whether it has the imaginary unit in it.
  bool is_complex() const;

  /// The name where it is one name and no more; else "".
  std::string name() const;

private:
  enum class operation : std::uint8_t {
    number,
    name,
    sum,
    product,
    quotient,
    power,
    negative,
    root,
    function,
    factorial,
    binomial,
    magnitude
  };

  struct part {
    operation what = operation::number;
    std::optional<exact_number> exact = {};
    double rounded = 0;    ///< of a number
    std::string word = {}; ///< a name, or a function
    std::size_t left = 0;  ///< always before this part
    std::size_t right = 0;
  };

  friend class expression_reader;

  static rounded_value value_of(const part& p, const std::vector<rounded_value>& done, std::uint64_t point);

  std::vector<part> parts_; ///< the last is the whole
};

/// Whether both have the same value: exactly where both are rational numbers, else at many points.
bool is_equal(const expression& left, const expression& right);

/// Whether a = b says the same as c = d: a - b is c - d times a number. @param sign_counts the number must be positive
bool is_same_relation(const expression& a, const expression& b, const expression& c, const expression& d,
                      bool sign_counts);

} // namespace millrace::stated
