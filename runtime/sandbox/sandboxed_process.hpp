#pragma once

#include "runtime/sandbox/descriptor.hpp"
#include "runtime/sandbox/job.hpp"

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace millrace::sandbox {

/// One run of bubblewrap. The destructor kills what is left and reaps it. It also dies with the thread that made it.
class sandboxed_process {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// Starts bubblewrap, which waits before it starts the program.
  /// @param words  bubblewrap and its arguments
  /// @param filter the seccomp filter
  /// @param slot   the program's place among those at once: under root, whose user it runs as
  /// @throws sandbox_failure (refused) if the system starts no process
  sandboxed_process(const std::vector<std::string>& words, const std::string& filter, const job& what,
                    std::size_t slot);
  ~sandboxed_process();
  sandboxed_process(const sandboxed_process&) = delete;
  sandboxed_process& operator=(const sandboxed_process&) = delete;

  /// Lets the program start. @throws sandbox_failure: refused if bubblewrap fails, timeout if it takes too long
  void start(time_point until);

  /// Feeds the program, follows it to its end, and ends it where it passes a bound.
  /// @throws sandbox_failure if it cannot be ended, or bubblewrap failed after all
  outcome finish();

private:
  void wait_for_id(time_point until);
  void wait_for_gate(time_point until);
  void feed();
  void take(descriptor& from, std::string& into, std::size_t most);
  void kill_it(bound why);
  bool wait(time_point until, const std::vector<descriptor*>& readable, descriptor* writable);
  [[noreturn]] void failed();

  const job& job_;
  pid_t outer_ = -1;     ///< bubblewrap itself
  descriptor outer_end_; ///< its pidfd
  descriptor inner_;     ///< pidfd of process 1 of the sandbox
  descriptor input_, out_, err_, status_, gate_;
  std::string said_; ///< by bubblewrap, about the program
  std::size_t fed_ = 0;
  outcome found_;
  time_point started_;
};

} // namespace millrace::sandbox
