#pragma once

#include "runtime/stated/exact_number.hpp"

#include <cstddef>
#include <optional>
#include <string_view>

namespace millrace::stated {

/// A decimal at some place of a plain text (`plain_math`).
struct decimal_reading {
  std::optional<exact_number> value; ///< nothing: none begins there, or one that cannot be read
  std::size_t length = 0;            ///< bytes that belong to it; 0 where none begins there
  bool is_integer = false;           ///< digits alone, and what separates thousands
};

/// Reads the decimal without a sign that begins with the first byte of `text`.
///
///     12   .5   1,234   1 234   1'234   1_234   1.234,50   1.234.567   12,34,567   1.5e-3   0.\overline{3}   0.(3)
///
/// A comma, space, apostrophe or underscore separates thousands only between groups of three digits (in the Indian way
/// of two, before a last group of three); `1,23` is 1. What has a length but no value: 1.2.3, 0x1F, 0.33..., 1e99999,
/// and more than 1000 digits.
decimal_reading decimal_at_start(std::string_view text);

} // namespace millrace::stated
