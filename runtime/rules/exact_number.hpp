#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::rules {

/// A decimal or a fraction of two decimals, held digit by digit: comparing rounds nothing.
class exact_number {
public:
  /// Reads one number at the start of `text`: an optional sign (-, +, U+2212), an optional currency sign ($, euro,
  /// pound), digits with or without thousands commas, an optional decimal part, an optional exponent, or two such with
  /// a slash between, an optional percent sign. LaTeX's `\$`, `\%`, `{,}`, `\,`, `\!` and `\frac{a}{b}` (also dfrac,
  /// tfrac) are read.
  ///
  /// @param percent_is_hundredth 5% is 0.05 instead of 5
  /// @param read_bytes if not null, receives how many bytes were read
  /// @returns nothing if no number begins there, one has more than 1000 digits, or a denominator is 0
  static std::optional<exact_number> at_start(std::string_view text, bool percent_is_hundredth,
                                              std::size_t* read_bytes = nullptr);

  /// The number that `text`, trimmed, is as a whole; nothing if it is anything else.
  static std::optional<exact_number> whole(std::string_view text, bool percent_is_hundredth);

  bool operator==(const exact_number& other) const;

  /// Equal decimals have equal text ("-125e-2"); a fraction is not reduced ("2/4" is not "1/2").
  std::string canonical() const;

private:
  /// digits * 10^exponent; digits without leading or trailing zeros, "" is 0.
  struct decimal {
    std::string digits;
    std::int64_t exponent = 0;
    bool operator==(const decimal&) const = default;
  };
  struct reader;

  static decimal normal(std::string digits, std::int64_t exponent);
  static decimal product(const decimal& a, const decimal& b);

  bool negative_ = false;
  decimal numerator_;
  decimal denominator_{"1", 0};
};

/// The last number in `text`; a sign belongs to it only where no digit, letter or closing bracket stands before it.
std::optional<exact_number> last_number(std::string_view text, bool percent_is_hundredth);

} // namespace millrace::rules
