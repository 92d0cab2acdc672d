#pragma once

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>

namespace millrace::tools {

/// Prints answers of a run while it trains, as `run --samples N`: so many of each step on stdout, from the trajectory
/// files in the run's folder or, of a run of several stages, in those below it. What is not printed yet when this
/// ends is printed then.
class shown_samples {
public:
  /// @param answers of each step; 0: nothing is read or printed
  shown_samples(std::filesystem::path run, std::size_t answers);
  ~shown_samples();
  shown_samples(const shown_samples&) = delete;
  shown_samples& operator=(const shown_samples&) = delete;

private:
  void follow();

  std::filesystem::path run_;
  std::size_t answers_;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

} // namespace millrace::tools
