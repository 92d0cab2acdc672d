#pragma once

#include <sys/resource.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace millrace::fuzz {

/// How an input is made again: "reader NAME, input N (again: ...)".
std::string named(const std::string& reader, std::uint64_t number);

/// While it lives, the calling thread reads this input. If that takes too long, or ends the program, the input is named
/// on stderr.
class watched {
public:
  watched(const std::string& reader, std::uint64_t number);
  ~watched();
  watched(const watched&) = delete;
  watched& operator=(const watched&) = delete;

  /// CPU milliseconds of the slowest input since this was asked last.
  static double slowest_ms();
};

/// Watches over the calling thread until it is gone: an input that takes more than two seconds of the processor, or
/// half a minute by the clock, ends the program; so does a crash; memory beyond one GiB more than now is refused.
class watchdog {
public:
  watchdog();
  ~watchdog();
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;

private:
  rlimit memory_before_{};
  std::atomic<bool> ends_ = false;
  std::thread looks_;
};

} // namespace millrace::fuzz
