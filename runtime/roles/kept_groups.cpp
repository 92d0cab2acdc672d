#include "runtime/roles/kept_groups.hpp"

#include <stdexcept>
#include <string>
#include <utility>

namespace millrace::roles {

void kept_groups::keep(train::training_group group) {
  const std::lock_guard lock(mutex_);
  const auto id = group.id;
  groups_.insert_or_assign(id, std::make_shared<const train::training_group>(std::move(group)));
}

void kept_groups::forget(std::uint64_t group) {
  forget(std::span(&group, 1));
}

void kept_groups::forget(std::span<const std::uint64_t> groups) {
  const std::lock_guard lock(mutex_);
  for (const auto id : groups)
    groups_.erase(id);
}

bool kept_groups::has(std::uint64_t group) const {
  const std::lock_guard lock(mutex_);
  return groups_.contains(group);
}

std::shared_ptr<const train::training_group> kept_groups::find(std::uint64_t group) const {
  const std::lock_guard lock(mutex_);
  const auto found = groups_.find(group);
  return found == groups_.end() ? nullptr : found->second;
}

std::vector<train::training_group> kept_groups::of(std::span<const std::uint64_t> groups) const {
  std::vector<train::training_group> result;
  for (const auto id : groups) {
    const auto found = find(id);
    if (!found)
      throw std::logic_error("group " + std::to_string(id) + " was never fetched");
    result.push_back(*found);
  }
  return result;
}

} // namespace millrace::roles
