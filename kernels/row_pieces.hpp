#pragma once

#include <algorithm>
#include <cstdint>

namespace millrace::kernels {

/// Rows of `width` floats that one thread takes at a time in elementwise work: less than about a microsecond's worth
/// is not worth waking anybody for.
inline std::int64_t rows_a_piece(std::int64_t width) {
  constexpr std::int64_t floats = 8192;
  return std::max<std::int64_t>(1, floats / std::max<std::int64_t>(1, width));
}

} // namespace millrace::kernels
