#pragma once

#include "runtime/workers/worker_process.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace millrace::workers {

/// A child process that works on many questions at once and answers them in any order. It is started when it is first
/// needed. One that dies, or lets a question's deadline pass, is killed with everything that it had, and the next
/// question gets a new one. Thread-safe.
class open_worker {
public:
  /// The text of a question or of an answer, with the number that ties them together.
  using question = std::function<std::string(std::uint64_t id)>;

  /// @returns the number of the question that a message answers
  /// @throws worker_failure (malformed) for a message that answers none
  using reader = std::function<std::uint64_t(const std::string& message)>;

  /// What a fresh process says before its first question. @returns "", or why it is of no use, in one line
  using greeting = std::function<std::string(const std::string& message)>;

  /// Called once, on a thread of this worker, which it must not block. @param error "": the message is the answer
  using answered = std::function<void(const std::string& message, const std::string& error)>;

  /// @param greet    of a process that speaks first; empty: it does not
  /// @param start_up how long a process may take until it has spoken
  /// @param gone     called on a thread of this worker when a process and all that it kept are gone
  open_worker(worker_command command, greeting greet, reader read, std::chrono::milliseconds start_up,
              std::function<void()> gone);
  ~open_worker(); ///< kills the process; open questions are not answered any more
  open_worker(const open_worker&) = delete;
  open_worker& operator=(const open_worker&) = delete;

  void ask(question what, std::chrono::milliseconds deadline, answered done);

  /// Sends what nobody answers, if a process lives.
  void tell(std::string message);

  /// Starts the process if there is none. @returns why it is of no use, in one line; "" where it lives
  std::string start();

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace millrace::workers
