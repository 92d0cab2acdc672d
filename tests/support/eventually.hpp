#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace millrace::tests {

/// Whether a condition comes true within 10 seconds.
template <class Condition>
bool eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    std::this_thread::yield();
  }
  return true;
}

/// Something that several threads change and a test waits for.
template <class T>
class watched {
public:
  template <class Change>
  void change(Change how) {
    {
      const std::lock_guard lock(mutex_);
      how(value_);
    }
    changed_.notify_all();
  }

  /// Whether `wanted(value)` comes true within 10 seconds.
  template <class Condition>
  bool wait(Condition wanted) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return wanted(std::as_const(value_)); });
  }

  T get() {
    const std::lock_guard lock(mutex_);
    return value_;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  T value_{};
};

} // namespace millrace::tests
