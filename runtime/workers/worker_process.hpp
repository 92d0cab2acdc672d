#pragma once

#include "runtime/words/failure_kind.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::workers {

/// How messages to and from a process are told apart.
enum class framing : std::uint8_t {
  length, ///< descriptor 3: four bytes, the length, least byte first, then the message; stdout goes to stderr
  line,   ///< stdin and stdout: a message a line
};

/// What a process is and may take.
struct worker_command {
  std::vector<std::string> arguments; ///< the program first: a path, or a name to look for in PATH
  framing frames = framing::length;
  std::int64_t memory_bytes = 0; ///< of data that it may hold, as RLIMIT_DATA counts; 0: no limit
};

/// A question that got no reply. The process is of no more use.
struct worker_failure : std::runtime_error {
  worker_failure(failure_kind why, const std::string& line) : std::runtime_error(line), kind(why) {}

  failure_kind kind;
};

/// A child process that answers messages one after another. It leads a process group of its own, and the destructor
/// kills the whole group. It also dies with the thread that started it. Not thread-safe.
class worker_process {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// @throws worker_failure (refused) if the system starts no process. A program that is not there ends with status
  ///         127: the first `receive` says so
  explicit worker_process(const worker_command& command);
  ~worker_process();
  worker_process(const worker_process&) = delete;
  worker_process& operator=(const worker_process&) = delete;

  /// @throws worker_failure
  void send(std::string_view message, time_point until);

  /// The next message. @throws worker_failure (timeout, crash, malformed)
  std::string receive(time_point until);

  /// The next message, or nothing as soon as the descriptor `wake` can be read. @throws as `receive`
  std::optional<std::string> receive_or_wake(time_point until, int wake);

  pid_t id() const { return pid_; }

private:
  bool take(std::string& message);
  bool read_some(); ///< false: there is nothing to read yet
  /// @param wake a further descriptor to read from, or -1 @returns whether the socket is ready
  bool wait_for(short events, time_point until, int wake = -1);
  [[noreturn]] void ended();

  framing frames_;
  pid_t pid_ = -1;
  int process_ = -1; ///< pidfd
  int socket_ = -1;
  std::string received_; ///< and not yet taken
};

} // namespace millrace::workers
