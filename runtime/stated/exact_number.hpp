#pragma once

#include <boost/multiprecision/cpp_int.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::stated {

/// A rational number without any rounding, in one form for each value: +-(above / below) * 2^twos * 5^fives, where
/// `above` and `below` have no common factor, and neither has one with 10.
///
/// Nothing stands for a number whose parts would pass `most_bits`: what people write is far below.
class exact_number {
public:
  static constexpr std::int64_t most_bits = 65536;

  exact_number() = default; ///< 0

  /// digits * 10^exponent
  /// @param digits ASCII digits, at least one
  static std::optional<exact_number> of_decimal(std::string_view digits, std::int64_t exponent);

  exact_number operator-() const;
  std::optional<exact_number> plus(const exact_number& other) const;
  std::optional<exact_number> times(const exact_number& other) const;

  /// @returns nothing if `other` is 0
  std::optional<exact_number> over(const exact_number& other) const;

  /// @returns nothing for 0 to a power below 1, and for a power that is no integer
  std::optional<exact_number> to_the(const exact_number& power) const;

  bool operator==(const exact_number&) const = default;

  bool is_zero() const { return above_ == 0; }

  bool is_negative() const { return negative_; }

  /// Smaller than 1 either way.
  bool is_proper() const;

  /// Equal where the value is equal: "12", "-0.75", "2/3", "1e400".
  std::string canonical() const;

private:
  using integer = boost::multiprecision::cpp_int;

  /// Moves the factors of 10 and the common ones out. @param above >= 0 @param below > 0
  static std::optional<exact_number> reduced(bool negative, integer above, integer below, std::int64_t twos,
                                             std::int64_t fives);

  bool negative_ = false;
  integer above_ = 0;
  integer below_ = 1;
  std::int64_t twos_ = 0;
  std::int64_t fives_ = 0;
};

} // namespace millrace::stated
