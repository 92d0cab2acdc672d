#include "runtime/collective/rendezvous.hpp"

#include "runtime/collective/group.hpp"

#include <utility>

namespace millrace::collective {

void rendezvous::told(const std::string& key, const std::string& value) {
  {
    const std::lock_guard lock(mutex_);
    words_[key] = value;
  }
  changed_.notify_all();
}

void rendezvous::abort(const std::string& why) {
  abort_handler handler;
  {
    const std::lock_guard lock(mutex_);
    if (aborted_)
      return;
    aborted_ = why;
    handler = on_abort_;
  }
  changed_.notify_all();
  if (handler)
    handler(why);
}

void rendezvous::put(const std::string& key, const std::string& value) {
  told(key, value);
  to_others_(key, value);
}

bool rendezvous::has(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  return words_.contains(key);
}

std::string rendezvous::wait(const std::string& key, const std::string& whose,
                             std::chrono::steady_clock::time_point deadline, std::chrono::milliseconds within) const {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [&] { return aborted_ || words_.contains(key); });
  if (aborted_)
    throw lost(*aborted_);
  const auto found = words_.find(key);
  if (found == words_.end())
    throw lost(whose + " has not come to the group within " + std::to_string(within.count()) + " ms");
  return found->second;
}

void rendezvous::on_abort(abort_handler handler) {
  std::optional<std::string> already;
  {
    const std::lock_guard lock(mutex_);
    on_abort_ = handler;
    already = aborted_;
  }
  if (already && handler)
    handler(*already);
}

} // namespace millrace::collective
