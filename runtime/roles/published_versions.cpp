#include "runtime/roles/published_versions.hpp"

#include "runtime/columns/weights_delta.hpp"

#include <algorithm>
#include <utility>

namespace millrace::roles {

std::size_t versions_kept(const pipeline::pipeline& p) {
  const auto references = p.of<pipeline::reference_table>();
  const bool followed = std::ranges::any_of(
      references, [](const auto* role) { return std::get<pipeline::reference_table>(role->options).follows(); });
  return followed ? 2 : 1;
}

bool publishes_deltas(const pipeline::pipeline& p) {
  return std::ranges::any_of(p.of<pipeline::policy_table>(), [](const auto* role) {
    return std::get<pipeline::policy_table>(role->options).publish_deltas;
  });
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

weight_shares published_versions::publish_whole(version_id version, const transport::bundle& parameters) {
  weight_shares shares = publish(version, parameters);
  if (!deltas_)
    return shares;
  std::optional<transport::bundle> delta;
  if (newest_ && newest_->first < version)
    delta = columns::delta_of(newest_->second, parameters);
  const std::lock_guard lock(mutex_);
  delta_share_ = delta ? static_cast<double>(delta->bytes()) / static_cast<double>(parameters.bytes()) : 0;
  if (delta) {
    shares.delta = data_->publish(std::move(*delta));
    shares.since = newest_->first;
    published_.back().delta = shares.delta.id;
  }
  newest_ = {version, parameters};
  return shares;
}

double published_versions::delta_share() const {
  const std::lock_guard lock(mutex_);
  return delta_share_;
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
    if (!wanted) {
      data_->release(one.ticket);
      if (one.delta != 0)
        data_->release(one.delta);
    }
    return !wanted;
  });
}

} // namespace millrace::roles
