#pragma once

#include <functional>
#include <thread>

namespace millrace::cluster {

/// Takes Ctrl-C (SIGINT) and SIGTERM on a thread of its own. Make it before any other thread, so that all of them leave
/// the signals to it.
class stop_signals {
public:
  /// @param on_stop called on the thread at each signal, with its name and how many there have been (from 1)
  explicit stop_signals(std::function<void(const char* name, int count)> on_stop);
  ~stop_signals();
  stop_signals(const stop_signals&) = delete;
  stop_signals& operator=(const stop_signals&) = delete;

private:
  std::jthread thread_;
};

} // namespace millrace::cluster
