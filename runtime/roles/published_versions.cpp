#include "runtime/roles/published_versions.hpp"

#include <algorithm>
#include <utility>

namespace millrace::roles {

std::size_t versions_kept(const pipeline::pipeline& p) {
  const auto references = p.of<pipeline::reference_table>();
  const bool followed = std::ranges::any_of(
      references, [](const auto* role) { return std::get<pipeline::reference_table>(role->options).follows(); });
  return followed ? 2 : 1;
}

void published_versions::make_room() {
  const std::lock_guard lock(mutex_);
  let_go_of_old(kept_ - 1);
}

ticket published_versions::publish(version_id version, transport::bundle parameters) {
  auto place = data_->publish(std::move(parameters));
  const std::lock_guard lock(mutex_);
  published_.push_back({version, place.id});
  let_go_of_old(kept_);
  return place;
}

void published_versions::hold(const hold_weights& ask) {
  const std::lock_guard lock(mutex_);
  if (ask.hold)
    held_.insert(ask.version);
  else if (held_.erase(ask.version) > 0)
    let_go_of_old(kept_);
}

std::set<version_id> published_versions::held() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

void published_versions::hold_only(std::set<version_id> versions) {
  const std::lock_guard lock(mutex_);
  held_ = std::move(versions);
}

void published_versions::let_go_of_old(std::size_t kept) {
  for (std::size_t i = 0; i + kept < published_.size();)
    if (held_.contains(published_[i].version)) {
      ++i;
    } else {
      data_->release(published_[i].ticket);
      published_.erase(published_.begin() + static_cast<std::ptrdiff_t>(i));
    }
}

} // namespace millrace::roles
