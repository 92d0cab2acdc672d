#pragma once

#include "runtime/stated/exact_number.hpp"

#include <cstddef>
#include <optional>
#include <string_view>

namespace millrace::stated {

/// What stands at some place of a plain text (`plain_math`).
struct number_reading {
  std::optional<exact_number> value; ///< nothing: no number begins there, or one that cannot be read
  std::size_t length = 0;            ///< bytes that belong to it; 0 where no number begins there

  bool begins() const { return length > 0; }
};

/// Reads the number that begins with the first byte of `text`, exactly:
///
///     12   -12   - 12   .5   1,234   1 234   1'234   1_234   1.234,50   12,34,567   1.5e-3   0.\overline{3}   0.(3)
///     3/4   -3 / 4   \frac{3}{4}   \frac34   (3/4)   {5}   2 1/2   2\frac{1}{2}   2^{10}   3.2*10^5   3.2 x 10^5
///     5 million   50%   50 percent
///
/// A number that is part of something else has a length but no value: 1/2/3, 1.2.3, 2^x, 3x, 0x1F, 4 10/3, 1/0,
/// 0.33..., 3 squared, and one of more than 1000 digits.
///
/// @param text              plain
/// @param percent_is_hundredth 50% is 0.5 instead of 50
number_reading number_at_start(std::string_view text, bool percent_is_hundredth);

} // namespace millrace::stated
