#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace millrace::actors {

/// A thread of its own for heavy work, so that no mailbox ever waits for it: runs jobs one after another, in order.
class job_thread {
public:
  job_thread() : thread_([this] { run(); }) {}

  /// Lets the job at hand end; jobs not begun are dropped.
  ~job_thread() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    arrived_.notify_all();
    thread_.join();
  }

  job_thread(const job_thread&) = delete;
  job_thread& operator=(const job_thread&) = delete;

  /// The job reports its own errors: an exception that leaves it ends the process.
  void post(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    arrived_.notify_all();
  }

private:
  void run() {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock lock(mutex_);
        arrived_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
        if (closing_)
          return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  }

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> jobs_;
  bool closing_ = false;
  std::thread thread_;
};

} // namespace millrace::actors
