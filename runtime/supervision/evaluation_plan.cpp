#include "runtime/supervision/evaluation_plan.hpp"

#include <algorithm>

namespace millrace::supervision {

evaluation_plan::evaluation_plan(std::vector<evaluation_node> roles) {
  for (auto& role : roles) {
    const auto name = role.role;
    roles_[name].node = std::move(role);
  }
}

bool evaluation_plan::want(role_state& role, std::uint32_t version) {
  if (role.evaluated == version || role.running == version || role.waiting == version)
    return false;
  if (role.waiting)
    ++role.skipped; // EP-1
  role.waiting = version;
  held_.try_emplace(version);
  return true;
}

bool evaluation_plan::reached(std::uint32_t version, bool first) {
  bool wanted = false;
  for (auto& [name, role] : roles_) {
    const bool due = version == 0 ? role.node.at_start : role.node.every > 0 && version % role.node.every == 0;
    // A run that goes on evaluates the version it goes on from where that was due.
    if (due && (version > 0 || first))
      wanted = want(role, version) || wanted;
  }
  release_unused();
  return wanted && !held_.at(version);
}

bool evaluation_plan::ended(std::uint32_t version) {
  last_ = version;
  bool wanted = false;
  for (auto& [name, role] : roles_)
    wanted = want(role, version) || wanted;
  release_unused();
  return wanted && !held_.at(version);
}

void evaluation_plan::known(const std::string& role, std::uint32_t version) {
  if (const auto found = roles_.find(role); found != roles_.end())
    found->second.evaluated = version;
}

void evaluation_plan::published(std::uint32_t version, const weight_shares& parameters) {
  if (const auto found = held_.find(version); found != held_.end())
    found->second = parameters;
}

void evaluation_plan::unpublished(std::uint32_t version) {
  for (auto& [name, role] : roles_)
    if (role.waiting == version) {
      role.waiting.reset();
      ++role.skipped;
    }
  release_unused();
}

void evaluation_plan::up(const role_instance& who, std::uint64_t node) {
  if (const auto found = roles_.find(who.role); found != roles_.end())
    found->second.alive = {who, node};
}

std::vector<role_instance> evaluation_plan::gone(std::uint64_t node) {
  std::vector<role_instance> dead;
  for (auto& [name, role] : roles_) {
    if (!role.alive || role.alive->second != node)
      continue;
    dead.push_back(role.alive->first);
    role.alive.reset();
    if (!role.running)
      continue;
    ++role.lost;
    if (role.running == last_ && role.attempts < last_attempts) // EP-3
      role.waiting = role.running;
    role.running.reset();
  }
  release_unused();
  return dead;
}

bool evaluation_plan::done(const role_instance& who, std::uint32_t version, result what) {
  const auto found = roles_.find(who.role);
  if (found == roles_.end() || found->second.running != version || !found->second.alive
      || found->second.alive->first != who)
    return false;
  found->second.running.reset();
  if (what == result::figures)
    found->second.evaluated = version;
  else
    ++found->second.lost;
  release_unused();
  return true;
}

void evaluation_plan::cancel() {
  for (auto& [name, role] : roles_) {
    role.node.every = 0;
    role.skipped += role.waiting.has_value();
    role.lost += role.running.has_value();
    role.waiting.reset();
    role.running.reset();
  }
  release_unused();
}

bool evaluation_plan::idle() const {
  return std::none_of(roles_.begin(), roles_.end(),
                      [](const auto& entry) { return entry.second.running || entry.second.waiting; });
}

std::vector<evaluation_plan::running> evaluation_plan::under_way() const {
  std::vector<running> all;
  for (const auto& [name, role] : roles_)
    if (const auto version = role.running ? role.running : role.waiting)
      all.push_back({role.alive ? role.alive->first : role_instance{name, 0, 0}, *version});
  return all;
}

std::vector<evaluation_plan::start> evaluation_plan::take_starts() {
  std::vector<start> starts;
  for (auto& [name, role] : roles_) {
    if (!role.alive || role.running || !role.waiting)
      continue;
    const auto& parameters = held_.at(*role.waiting);
    if (!parameters)
      continue;
    role.running = role.waiting;
    role.waiting.reset();
    role.attempts = role.running == last_ ? role.attempts + 1 : 0;
    starts.push_back({.who = role.alive->first, .version = *role.running, .parameters = *parameters});
  }
  return starts;
}

std::vector<std::uint32_t> evaluation_plan::take_released() {
  return std::exchange(released_, {});
}

bool evaluation_plan::used(std::uint32_t version) const {
  return std::any_of(roles_.begin(), roles_.end(), [&](const auto& entry) {
    return entry.second.running == version || entry.second.waiting == version;
  });
}

void evaluation_plan::release_unused() { // EP-2
  for (auto at = held_.begin(); at != held_.end();) {
    if (used(at->first)) {
      ++at;
      continue;
    }
    released_.push_back(at->first);
    at = held_.erase(at);
  }
}

} // namespace millrace::supervision
