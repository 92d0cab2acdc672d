#pragma once

#include <csignal>

namespace millrace::tools {

/// The signals that end a command which serves until it is told to end: Ctrl-C, SIGTERM, SIGHUP. Make it before any
/// other thread, so that all of them leave the signals to it.
class end_signals {
public:
  end_signals() {
    sigemptyset(&ends_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
      sigaddset(&ends_, signal);
    pthread_sigmask(SIG_BLOCK, &ends_, nullptr);
  }

  void wait() const {
    int signal = 0;
    sigwait(&ends_, &signal);
  }

private:
  sigset_t ends_;
};

} // namespace millrace::tools
