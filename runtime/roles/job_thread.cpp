#include "runtime/roles/job_thread.hpp"

#include <utility>

namespace millrace::roles {

job_thread::job_thread() : thread_([jobs = queue_] { run(*jobs); }) {
}

job_thread::~job_thread() {
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->closing = true;
  }
  queue_->arrived.notify_all();
  if (thread_.get_id() == std::this_thread::get_id())
    thread_.detach();
  else
    thread_.join();
}

void job_thread::post(std::function<void()> job) {
  push(*queue_, std::move(job));
}

job_thread::poster job_thread::weak_poster() const {
  return [weak = std::weak_ptr(queue_)](std::function<void()> job) {
    if (const auto jobs = weak.lock())
      push(*jobs, std::move(job));
  };
}

void job_thread::push(queue& jobs, std::function<void()> job) {
  {
    const std::lock_guard lock(jobs.mutex);
    if (jobs.closing)
      return; // the job is dropped behind the lock: what it holds may post as well
    jobs.jobs.push_back(std::move(job));
  }
  jobs.arrived.notify_all();
}

void job_thread::run(queue& jobs) {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(jobs.mutex);
      jobs.arrived.wait(lock, [&] { return jobs.closing || !jobs.jobs.empty(); });
      if (jobs.closing)
        return;
      job = std::move(jobs.jobs.front());
      jobs.jobs.pop_front();
    }
    job();
  }
}

} // namespace millrace::roles
