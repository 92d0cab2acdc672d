#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace millrace::roles {

/// A thread of its own for heavy work, so that nobody waits for it: runs jobs one after another, in order.
class job_thread {
public:
  job_thread();

  /// Lets the job at hand end and drops those that have not begun. The job at hand may itself be what destroys this.
  ~job_thread();

  job_thread(const job_thread&) = delete;
  job_thread& operator=(const job_thread&) = delete;

  /// The job reports its own errors: an exception that leaves it ends the process.
  void post(std::function<void()> job);

  /// Posts from anywhere without keeping this alive: jobs that come once it is being destroyed are dropped. Work that
  /// ends on another thread takes this, so that no thread ever waits for the other's end.
  using poster = std::function<void(std::function<void()> job)>;
  poster weak_poster() const;

private:
  struct queue {
    std::mutex mutex;
    std::condition_variable arrived;
    std::deque<std::function<void()>> jobs;
    bool closing = false;
  };

  static void run(queue& jobs);
  static void push(queue& jobs, std::function<void()> job);

  std::shared_ptr<queue> queue_ = std::make_shared<queue>();
  std::thread thread_;
};

} // namespace millrace::roles
