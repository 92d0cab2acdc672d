#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

/// So many bytes. Files write them as an integer, or as text with a unit: 25769803776, "24 GiB", "1.5 GB".
struct byte_count {
  std::int64_t bytes = 0;

  auto operator<=>(const byte_count&) const = default;
};

/// @param text a decimal number and, behind any spaces, a unit: B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB
///             (powers of 1024); upper and lower case alike
/// @returns nothing for another text, and for more bytes than 2^53; a part of a byte is left out
std::optional<byte_count> byte_count_of(std::string_view text);

/// The shortest text that `byte_count_of` reads as `count`: "24 GiB", "1000 B".
std::string in_words(byte_count count);

} // namespace millrace
