#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace millrace::cluster {

/// How long the libraries may take to let go once everything is over.
inline constexpr std::chrono::seconds parting_grace{5};

/// The end of something that may hang: a library that waits for a connection that nobody answers, a thread that sleeps.
/// Declare it before the objects that may hang, and begin it when everything that matters is written and said. If they
/// are not gone within the grace, the process ends. If they are, it goes on.
class grace_period {
public:
  grace_period() = default;
  ~grace_period();
  grace_period(const grace_period&) = delete;
  grace_period& operator=(const grace_period&) = delete;

  /// Once. @param status of the process if it has to be ended so   @param last_words called before that
  void begin(std::chrono::milliseconds grace, int status, std::function<void()> last_words = {});

private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool gone_ = false;
  std::thread watch_;
};

/// This process ends within `grace`, whatever hangs on the way out of `main`.
void end_within(std::chrono::milliseconds grace, int status);

} // namespace millrace::cluster
