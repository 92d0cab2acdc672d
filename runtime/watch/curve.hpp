#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace millrace::watch {

/// A figure over steps in bounded memory: where too many points came, every second one is let go.
class curve {
public:
  static constexpr std::size_t most = 400; ///< points

  /// Steps ascend.
  void add(double step, double value);

  /// The kept points and the newest one, by step.
  std::vector<std::pair<double, double>> points() const;

private:
  std::vector<std::pair<double, double>> kept_;
  std::pair<double, double> newest_{};
  std::size_t seen_ = 0;
  std::size_t stride_ = 1; ///< one of so many points is kept
};

} // namespace millrace::watch
