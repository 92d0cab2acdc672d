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
  published_.push_back({.version = version, .ticket = place.id});
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

void published_versions::let_go(const weights_taken& what) {
  const std::lock_guard lock(mutex_);
  for (auto& one : published_)
    one.taken = one.taken || (one.version == what.version && kept_ == 1);
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
  auto from_here = published_.size(); // how many follow, this one included
  std::erase_if(published_, [&](const published& one) {
    const bool old = from_here-- > kept;
    const bool wanted = held_.contains(one.version) || (!old && !one.taken);
    if (!wanted)
      data_->release(one.ticket);
    return !wanted;
  });
}

} // namespace millrace::roles
