#pragma once

#include <chrono>

namespace millrace::train {

class stopwatch {
public:
  /// Seconds since the last call, or since this was made.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double passed = std::chrono::duration<double>(now - since_).count();
    since_ = now;
    return passed;
  }

private:
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

} // namespace millrace::train
