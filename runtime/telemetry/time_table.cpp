#include "runtime/telemetry/time_table.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace millrace::telemetry {
namespace {

/// Stretches kept a track. Beyond that the oldest two are joined: nothing that ends now reaches back that far.
constexpr std::size_t max_stretches = 4096;

/// Adds [begin, end] to a set of disjoint stretches. Returns the seconds of it that were not covered before.
double cover(std::map<double, double>& covered, double begin, double end) {
  double fresh = end - begin;
  auto at = covered.upper_bound(begin);
  if (at != covered.begin() && std::prev(at)->second >= begin)
    --at;
  while (at != covered.end() && at->first <= end) {
    fresh -= std::min(end, at->second) - std::max(begin, at->first);
    begin = std::min(begin, at->first);
    end = std::max(end, at->second);
    at = covered.erase(at);
  }
  covered.emplace(begin, end);
  if (covered.size() > max_stretches) {
    const auto second = std::next(covered.begin());
    covered.begin()->second = second->second;
    covered.erase(second);
  }
  return std::max(fresh, 0.0);
}

} // namespace

std::string_view role_of(std::string_view track) {
  return track.substr(0, track.find('/'));
}

void time_table::add(std::span<const span> spans, double clock_offset_s) {
  for (const auto& s : spans) {
    const double begin = s.start_s + clock_offset_s;
    const double end = begin + s.duration_s;
    if (!std::isfinite(begin) || !std::isfinite(end) || end < begin)
      continue;
    auto& track = tracks_[s.track];
    first_s_ = std::min(first_s_, begin);
    last_s_ = std::max(last_s_, end);
    track.by_cause[s.category] += cover(track.covered, begin, end);
  }
}

std::vector<role_time> time_table::rows(double until_s) const {
  std::map<std::string, std::pair<role_time, std::map<std::string, double>>> roles;
  for (const auto& [name, track] : tracks_) {
    auto& [row, by_cause] = roles[std::string{role_of(name)}];
    ++row.tracks;
    row.seconds += std::max(until_s, last_s_) - first_s_;
    for (const auto& [why, seconds] : track.by_cause)
      by_cause[why] += seconds;
  }
  std::vector<role_time> rows;
  for (auto& [role, entry] : roles) {
    auto& [row, by_cause] = entry;
    row.role = role;
    double idle = 1;
    for (const auto& [why, seconds] : by_cause) {
      const double fraction = row.seconds > 0 ? seconds / row.seconds : 0;
      idle -= fraction;
      if (why != cause::idle)
        row.fractions.emplace_back(why, fraction);
      else
        idle += fraction;
    }
    std::stable_sort(row.fractions.begin(), row.fractions.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
    row.fractions.emplace_back(cause::idle, std::max(idle, 0.0));
    rows.push_back(std::move(row));
  }
  return rows;
}

} // namespace millrace::telemetry
