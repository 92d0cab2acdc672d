#pragma once

#include <algorithm>
#include <cstdint>
#include <thread>

namespace millrace {

/// Cores of this machine that the process may use, at least 1.
inline std::int64_t cores_here() {
  return std::max(1u, std::thread::hardware_concurrency());
}

} // namespace millrace
