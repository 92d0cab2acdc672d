#include "runtime/roles/published_versions.hpp"

#include "runtime/columns/weights_delta.hpp"
#include "runtime/pipeline/abilities.hpp"

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
    const auto& table = std::get<pipeline::policy_table>(role->options);
    return table.publish_deltas && !table.lora;
  });
}

bool taken_here(const pipeline::pipeline& p) {
  return std::ranges::none_of(p.roles, [&](const pipeline::role& role) {
    const auto* policy = std::get_if<pipeline::policy_table>(&role.options);
    return p.processes_of(role.name) > 0
           && (pipeline::abilities_of(role).takes_weights || (policy && !policy->publishes_to.empty()));
  });
}

bool taken_in_place(const pipeline::pipeline& p) {
  return taken_here(p) && !publishes_deltas(p)
         && std::ranges::all_of(p.of<pipeline::policy_table>(), [&](const auto* role) {
              const auto& table = std::get<pipeline::policy_table>(role->options);
              return p.models.at(table.model).dtype == precision::float32;
            });
}

std::filesystem::path adapter_base(const pipeline::pipeline& p) {
  for (const auto* role : p.of<pipeline::policy_table>())
    if (const auto& table = std::get<pipeline::policy_table>(role->options); table.lora)
      return p.models.at(table.model).path;
  return {};
}

columns::version_pulls::parts parts_pulled(const pipeline::pipeline& p, bool deltas) {
  return {.deltas = deltas && publishes_deltas(p), .base = adapter_base(p)};
}

void published_versions::make_room() {
  const std::lock_guard lock(mutex_);
  let_go_of_old(kept_ - 1);
}

ticket published_versions::publish(version_id version, transport::bundle parameters) {
  auto place = data_->publish(std::move(parameters), sums_);
  const std::lock_guard lock(mutex_);
  published_.push_back({.version = version, .ticket = place.id});
  let_go_of_old(kept_);
  return place;
}

weight_shares published_versions::publish_whole(version_id version, const transport::bundle& parameters,
                                                std::optional<transport::bundle> adapter) {
  weight_shares shares = publish(version, parameters);
  std::optional<transport::bundle> delta;
  if (deltas_ && newest_ && newest_->first < version)
    delta = columns::delta_of(newest_->second, parameters);
  const std::lock_guard lock(mutex_);
  published_share_ = 1;
  if (adapter) {
    shares.adapter = publish_part(std::move(*adapter), parameters);
  } else if (delta) {
    shares.delta = publish_part(std::move(*delta), parameters);
    shares.since = newest_->first;
  }
  if (deltas_)
    newest_ = {version, parameters};
  return shares;
}

ticket published_versions::publish_part(transport::bundle part, const transport::bundle& whole) {
  published_share_ = static_cast<double>(part.bytes()) / static_cast<double>(whole.bytes());
  auto place = data_->publish(std::move(part));
  published_.back().part = place.id;
  return place;
}

double published_versions::published_share() const {
  const std::lock_guard lock(mutex_);
  return published_share_;
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
      if (one.part != 0)
        data_->release(one.part);
    }
    return !wanted;
  });
}

} // namespace millrace::roles
