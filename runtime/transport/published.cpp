#include "runtime/transport/published.hpp"

namespace millrace::transport {

std::uint64_t published::add(bundle value) {
  const std::lock_guard lock(mutex_);
  bytes_ += value.bytes();
  bundles_.emplace(++last_id_, std::move(value));
  return last_id_;
}

void published::remove(std::uint64_t id) {
  bundle last; // freed after the lock
  const std::lock_guard lock(mutex_);
  if (const auto found = bundles_.find(id); found != bundles_.end()) {
    bytes_ -= found->second.bytes();
    last = std::move(found->second);
    bundles_.erase(found);
  }
}

std::optional<bundle> published::find(std::uint64_t id) const {
  const std::lock_guard lock(mutex_);
  const auto found = bundles_.find(id);
  return found == bundles_.end() ? std::nullopt : std::optional(found->second);
}

published::use published::usage() const {
  const std::lock_guard lock(mutex_);
  return {bundles_.size(), bytes_};
}

} // namespace millrace::transport
