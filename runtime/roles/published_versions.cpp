#include "runtime/roles/published_versions.hpp"

#include <utility>

namespace millrace::roles {

weights_published published_versions::publish(version_id version, transport::bundle parameters) {
  weights_published result{.version = version, .parameters = data_->publish(std::move(parameters))};
  const std::lock_guard lock(mutex_);
  published_.push_back({version, result.parameters.id});
  let_go_of_old();
  return result;
}

void published_versions::hold(const hold_weights& ask) {
  const std::lock_guard lock(mutex_);
  if (ask.hold)
    held_.insert(ask.version);
  else if (held_.erase(ask.version) > 0)
    let_go_of_old();
}

void published_versions::let_go_of_old() {
  for (std::size_t i = 0; i + kept_versions < published_.size();)
    if (held_.contains(published_[i].version)) {
      ++i;
    } else {
      data_->release(published_[i].ticket);
      published_.erase(published_.begin() + static_cast<std::ptrdiff_t>(i));
    }
}

} // namespace millrace::roles
