#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace millrace::cluster {

/// How a child ended.
struct child_exit {
  pid_t pid = 0;
  std::string how; ///< "exit status 1", "signal 9 (Killed)"
  int status = 0;  ///< its exit status; after a signal 128 and the signal, as a shell has it
};

/// A program to start.
struct child_command {
  std::vector<std::string> arguments;                  ///< the program's path not among them
  std::map<std::string, std::string> environment = {}; ///< added to this process's
  std::string program = "/proc/self/exe";              ///< a path; default: this one again
  int input = -1;                                      ///< its stdin; -1: this process's
};

/// Starts programs, as a rule this one again, and watches the children: every exit is reported once.
///
/// Signals that ask a program to stop do not end a child: this process decides. Children die with it, also when it is
/// killed. (PR_SET_PDEATHSIG follows the thread that forks, so `start`
/// belongs on a thread that lives as long as the children.)
class child_processes {
public:
  /// @param on_exit called on the watcher's thread
  explicit child_processes(std::function<void(child_exit)> on_exit);
  ~child_processes(); ///< kills what still runs and waits for it

  child_processes(const child_processes&) = delete;
  child_processes& operator=(const child_processes&) = delete;

  /// @returns the child's process id; a program that is not there ends with status 127
  /// @throws input_error when the system refuses
  pid_t start(const child_command& what);

  /// Sends a signal to a child of ours; one that has ended already is left alone.
  void signal(pid_t child, int number);

  /// Waits until no child runs.
  /// @returns false when some still run after `timeout_s`
  bool wait_all(double timeout_s);

private:
  void watch();

  std::function<void(child_exit)> on_exit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<pid_t, int> running_; ///< pid -> pidfd
  bool closing_ = false;
  int wake_[2] = {-1, -1};
  std::thread watcher_;
};

} // namespace millrace::cluster
