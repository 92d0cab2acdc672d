#include "runtime/telemetry/waits.hpp"

#include "runtime/telemetry/printed.hpp"
#include "runtime/telemetry/progress.hpp"

#include <algorithm>
#include <deque>
#include <optional>

namespace millrace::telemetry {
namespace {

using edges = std::map<std::string, std::vector<std::string>>;

/// The shortest way from `first` back to itself through names that come after it in the alphabet.
std::optional<std::vector<std::string>> circle_from(const std::string& first, const edges& waits_on) {
  std::map<std::string, std::string> came_from;
  std::deque<std::string> next{first};
  while (!next.empty()) {
    const auto name = next.front();
    next.pop_front();
    const auto found = waits_on.find(name);
    if (found == waits_on.end())
      continue;
    for (const auto& on : found->second) {
      if (on == first) {
        std::vector<std::string> circle;
        for (auto at = name; at != first; at = came_from.at(at))
          circle.push_back(at);
        circle.push_back(first);
        std::reverse(circle.begin(), circle.end());
        return circle;
      }
      if (on > first && came_from.emplace(on, name).second)
        next.push_back(on);
    }
  }
  return std::nullopt;
}

} // namespace

std::string in_seconds(double seconds) {
  if (seconds >= 600)
    return in_time(seconds);
  return printed(seconds == static_cast<int>(seconds) || seconds >= 100 ? "%.0f s" : "%.1f s", seconds);
}

wait_table::key wait_table::begin(wait_record record) {
  const std::lock_guard lock{mutex_};
  open_.emplace(next_, std::move(record));
  return next_++;
}

void wait_table::end(key k) {
  const std::lock_guard lock{mutex_};
  open_.erase(k);
}

std::vector<wait_record> wait_table::open() const {
  std::vector<wait_record> records;
  {
    const std::lock_guard lock{mutex_};
    for (const auto& [k, record] : open_)
      records.push_back(record);
  }
  std::stable_sort(records.begin(), records.end(),
                   [](const wait_record& a, const wait_record& b) { return a.since_s < b.since_s; });
  return records;
}

wait_table& process_waits() {
  static auto* const shared = new wait_table; // never destroyed: threads may outlive main's end
  return *shared;
}

std::string in_words(std::span<const std::string> names) {
  std::string list;
  for (const auto& name : names)
    list += (list.empty() ? "" : ", ") + name;
  return list;
}

std::string in_words(const wait_record& wait, double at_s) {
  const double waited = std::max(at_s - wait.since_s, 0.0);
  std::string line = wait.who + " waits for " + wait.what;
  if (!wait.on.empty())
    line += " on " + in_words(wait.on);
  line += " since " + in_seconds(waited);
  if (wait.deadline_s > 0)
    line += " (deadline " + in_seconds(wait.deadline_s) + (waited > wait.deadline_s ? ", overdue)" : ")");
  return line;
}

std::vector<std::vector<std::string>> wait_cycles(std::span<const wait_record> waits) {
  edges waits_on;
  for (const auto& wait : waits)
    waits_on[wait.who].insert(waits_on[wait.who].end(), wait.on.begin(), wait.on.end());
  std::vector<std::vector<std::string>> cycles;
  for (const auto& [who, on] : waits_on)
    if (auto circle = circle_from(who, waits_on))
      cycles.push_back(std::move(*circle));
  return cycles;
}

std::vector<std::string> stall_report(std::span<const wait_record> waits, std::span<const std::string> gone,
                                      double at_s) {
  std::vector<std::string> lines;
  for (const auto& circle : wait_cycles(waits)) {
    std::string line = "circle: ";
    for (const auto& name : circle)
      line += name + " waits on ";
    lines.push_back(line + circle.front());
  }
  for (const auto& wait : waits)
    for (const auto& name : wait.on)
      if (std::find(gone.begin(), gone.end(), name) != gone.end())
        lines.push_back(name + " is gone, and " + wait.who + " waits for " + wait.what + " on it");
  std::vector<wait_record> by_age(waits.begin(), waits.end());
  std::stable_sort(by_age.begin(), by_age.end(),
                   [](const wait_record& a, const wait_record& b) { return a.since_s < b.since_s; });
  for (const auto& wait : by_age)
    lines.push_back(in_words(wait, at_s));
  return lines;
}

} // namespace millrace::telemetry
