#include "runtime/telemetry/in_flight.hpp"

#include "runtime/telemetry/waits.hpp"

#include <algorithm>
#include <atomic>

namespace millrace::telemetry {

void in_flight_table::start(const std::string& who) {
  const std::lock_guard lock{mutex_};
  roles_[who] = {};
}

void in_flight_table::begin(const std::string& who, group_attempt what) {
  const std::lock_guard lock{mutex_};
  auto& by = roles_[who];
  ++by.asked;
  by.held[what.group] = what.attempt;
}

void in_flight_table::end(const std::string& who, group_attempt what) {
  const std::lock_guard lock{mutex_};
  auto& held = roles_[who].held;
  if (const auto found = held.find(what.group); found != held.end() && found->second == what.attempt)
    held.erase(found);
}

void in_flight_table::end(const std::string& who, group_id group) {
  const std::lock_guard lock{mutex_};
  roles_[who].held.erase(group);
}

std::vector<in_flight_report> in_flight_table::all() const {
  const std::lock_guard lock{mutex_};
  std::vector<in_flight_report> found;
  for (const auto& [who, by] : roles_) {
    found.push_back({who, by.asked, {}});
    found.back().held.reserve(by.held.size());
    for (const auto& [group, attempt] : by.held)
      found.back().held.push_back({group, attempt});
  }
  return found;
}

in_flight_table& process_in_flight() {
  static auto* const shared = new in_flight_table; // never destroyed: threads may outlive main's end
  return *shared;
}

in_flight_groups::in_flight_groups(std::string who) : who_{std::move(who)} {
  process_in_flight().start(who_);
}

struct in_flight_guard::open_group {
  in_flight_groups groups;
  group_attempt what;
  std::atomic<bool> ours = true;

  ~open_group() {
    if (ours)
      groups.end(what);
  }
};

in_flight_guard::in_flight_guard(const in_flight_groups& groups, group_attempt what)
    : open_{new open_group{groups, what}} {
  groups.begin(what);
}

void in_flight_guard::hand_over() const {
  open_->ours = false;
}

std::vector<vanished_group> vanished_groups::compare(const in_flight_report& report,
                                                     std::span<const expected_group> expected) {
  std::vector<vanished_group> vanished;
  std::map<group_attempt, expected_group> missing;
  auto& before = missing_[report.who];
  for (const auto& group : expected) {
    if (group.asked > report.asked || std::binary_search(report.held.begin(), report.held.end(), group.what))
      continue;
    if (before.contains(group.what))
      vanished.push_back({report.who, group});
    else
      missing.emplace(group.what, group);
  }
  before = std::move(missing);
  return vanished;
}

std::vector<vanished_group> vanished_groups::suspected() const {
  std::vector<vanished_group> all;
  for (const auto& [who, missing] : missing_)
    for (const auto& [what, group] : missing)
      all.push_back({who, group});
  return all;
}

std::string in_words(const vanished_group& group, double at_s) {
  return "group " + std::to_string(group.expected.what.group) + " counts as " + group.expected.as + " on " + group.who
         + ", which does not have it: its credit is held since "
         + in_seconds(std::max(at_s - group.expected.since_s, 0.0));
}

} // namespace millrace::telemetry
