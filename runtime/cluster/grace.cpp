#include "runtime/cluster/grace.hpp"

#include <unistd.h>

#include <utility>

namespace millrace::cluster {

void grace_period::begin(std::chrono::milliseconds grace, int status, std::function<void()> last_words) {
  watch_ = std::thread([this, grace, status, last_words = std::move(last_words)] {
    std::unique_lock lock(mutex_);
    if (over_.wait_for(lock, grace, [this] { return gone_; }))
      return;
    if (last_words)
      last_words();
    _exit(status);
  });
}

grace_period::~grace_period() {
  {
    const std::lock_guard lock(mutex_);
    gone_ = true;
  }
  over_.notify_all();
  if (watch_.joinable())
    watch_.join();
}

void end_within(std::chrono::milliseconds grace, int status) {
  (new grace_period)->begin(grace, status); // lives as long as the process
}

} // namespace millrace::cluster
