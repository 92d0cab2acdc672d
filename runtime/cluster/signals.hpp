#pragma once

#include <functional>
#include <thread>

namespace millrace::cluster {

/// Takes the signals that ask a program to stop, on a thread of its own: Ctrl-C (SIGINT), SIGTERM, SIGHUP (its terminal
/// was closed) and SIGUSR1 (a batch system's warning that the time is nearly over). Make it before any other thread, so
/// that all of them leave the signals to it.
///
/// SIGINT and SIGHUP stay ignored where the program was started so: by `nohup`, or in the background of a script.
class stop_signals {
public:
  /// @param on_stop called on the thread at each signal, with its name and how many Ctrl-C there have been so far
  explicit stop_signals(std::function<void(const char* name, int interrupts)> on_stop);
  ~stop_signals();
  stop_signals(const stop_signals&) = delete;
  stop_signals& operator=(const stop_signals&) = delete;

private:
  std::jthread thread_;
};

/// From here on a write that the system refuses fails, and does not end the program: to a pipe that nobody reads
/// (SIGPIPE), beyond a limit of size (SIGXFSZ).
void survive_refused_writes();

/// From here on none of the signals of `stop_signals` ends this program, nor what it becomes by exec: they often reach
/// a whole process group, and another process decides. May be called between fork and exec.
void leave_stopping_to_others();

} // namespace millrace::cluster
