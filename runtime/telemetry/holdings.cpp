#include "runtime/telemetry/holdings.hpp"

#include "runtime/telemetry/waits.hpp"

#include <algorithm>

namespace millrace::telemetry {

void holdings_table::begin(const std::string& who) {
  const std::lock_guard lock{mutex_};
  roles_[who] = {};
}

void holdings_table::take(const std::string& who, held_group what) {
  const std::lock_guard lock{mutex_};
  auto& by = roles_[who];
  ++by.asked;
  by.held[what.group] = what.attempt;
}

void holdings_table::leave(const std::string& who, held_group what) {
  const std::lock_guard lock{mutex_};
  auto& held = roles_[who].held;
  if (const auto found = held.find(what.group); found != held.end() && found->second == what.attempt)
    held.erase(found);
}

void holdings_table::leave(const std::string& who, std::uint64_t group) {
  const std::lock_guard lock{mutex_};
  roles_[who].held.erase(group);
}

std::vector<holding> holdings_table::all() const {
  const std::lock_guard lock{mutex_};
  std::vector<holding> found;
  for (const auto& [who, by] : roles_) {
    found.push_back({who, by.asked, {}});
    found.back().held.reserve(by.held.size());
    for (const auto& [group, attempt] : by.held)
      found.back().held.push_back({group, attempt});
  }
  return found;
}

holdings_table& process_holdings() {
  static auto* const shared = new holdings_table; // never destroyed: threads may outlive main's end
  return *shared;
}

std::vector<vanished_group> vanished_groups::compare(const holding& says, std::span<const expected_group> expected) {
  std::vector<vanished_group> vanished;
  std::map<held_group, expected_group> missing;
  auto& before = missing_[says.who];
  for (const auto& one : expected) {
    if (one.asked > says.asked || std::binary_search(says.held.begin(), says.held.end(), one.what))
      continue;
    if (before.contains(one.what))
      vanished.push_back({says.who, one});
    else
      missing.emplace(one.what, one);
  }
  before = std::move(missing);
  return vanished;
}

std::vector<vanished_group> vanished_groups::suspected() const {
  std::vector<vanished_group> all;
  for (const auto& [who, missing] : missing_)
    for (const auto& [what, one] : missing)
      all.push_back({who, one});
  return all;
}

std::string in_words(const vanished_group& group, double at_s) {
  return "group " + std::to_string(group.expected.what.group) + " counts as " + group.expected.as + " on " + group.who +
         ", which does not have it: its credit is held since " + in_seconds(std::max(at_s - group.expected.since_s, 0.0));
}

} // namespace millrace::telemetry
