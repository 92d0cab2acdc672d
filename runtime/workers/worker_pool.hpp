#pragma once

#include "runtime/workers/worker_process.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace millrace::workers {

/// Processes that wait for questions. Each is started when it is first needed and answers one question at a time; one
/// that fails a question is killed, and the next question gets a new one. Thread-safe.
class worker_pool {
public:
  /// What a fresh process says before its first question. @returns "", or why it is of no use, in one line
  using greeting = std::function<std::string(std::string_view message)>;

  /// @param count     processes at most, >= 1
  /// @param greet     of processes that speak first; empty: they do not
  /// @param start_up  how long a process may take until it has spoken
  worker_pool(worker_command command, std::size_t count, greeting greet, std::chrono::milliseconds start_up);
  ~worker_pool(); ///< as `close`; nobody asks any more
  worker_pool(const worker_pool&) = delete;
  worker_pool& operator=(const worker_pool&) = delete;

  /// What `talk` makes of one process of the pool. Waits while all are busy.
  /// @throws worker_failure as the process does, refused if none can be started; whatever `talk` throws. After each of
  ///         these the process is gone
  std::string ask(const std::function<std::string(worker_process&)>& talk);

  /// Kills the processes. What is asked of them now or later is a failure at once. Any thread.
  void close();

  std::size_t count() const { return count_; }

  std::chrono::milliseconds start_up() const { return start_up_; }

private:
  struct state;

  std::size_t count_;
  std::chrono::milliseconds start_up_;
  std::unique_ptr<state> state_;
};

} // namespace millrace::workers
