#pragma once

#include <chrono>
#include <cstdint>

namespace millrace {

/// Seconds as a pipeline has them, as deadlines are given. What is less than a millisecond is cut off.
inline std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

} // namespace millrace
