#pragma once

#include <pthread.h>

#include <csignal>

namespace millrace {

/// While it lives, this thread and those that it starts take no signals: signals are the business of the threads that
/// expect them, and a connection whose other end is gone must not end the process (SIGPIPE). errno stays as it is.
class no_signals {
public:
  no_signals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }

  ~no_signals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  no_signals(const no_signals&) = delete;
  no_signals& operator=(const no_signals&) = delete;

private:
  sigset_t before_;
};

} // namespace millrace
