#include "runtime/schedule/staleness.hpp"

#include <algorithm>

namespace millrace::schedule {

namespace {

template <class Count>
double mean(const staleness_counts& at_use, Count count) {
  double weighted = 0;
  double total = 0;
  for (const auto& [versions, one] : at_use) {
    weighted += static_cast<double>(versions) * static_cast<double>(count(one));
    total += static_cast<double>(count(one));
  }
  return total > 0 ? weighted / total : 0;
}

} // namespace

void staleness_counts::add(std::uint32_t step, const version_run& tokens) {
  if (tokens.empty())
    return;
  auto* const newest = &(*this)[step - tokens.first] - (tokens.last() - tokens.first);
  tokens.each([&](version_id version, std::uint32_t count) { newest[tokens.last() - version].tokens += count; });
}

std::uint32_t staleness_counts::highest() const {
  for (auto versions = all_.size(); versions > 0; --versions)
    if (all_[versions - 1] != bucket{})
      return static_cast<std::uint32_t>(versions - 1);
  return 0;
}

bool staleness_counts::operator==(const staleness_counts& other) const {
  for (std::size_t versions = 0; versions < std::max(all_.size(), other.all_.size()); ++versions)
    if (at(static_cast<std::uint32_t>(versions)) != other.at(static_cast<std::uint32_t>(versions)))
      return false;
  return true;
}

void staleness::add(std::uint32_t step, version_id born, const version_run& tokens) {
  const version_id oldest = tokens.empty() ? born : tokens.first;
  const version_id newest = tokens.empty() ? born : tokens.last();
  ++at_use[step - oldest].groups;
  at_use.add(step, tokens);
  in_flight += newest - oldest;
  in_queue += step - newest;
}

double staleness::mean_by_group() const {
  return mean(at_use, [](const bucket& one) { return one.groups; });
}

double staleness::mean_by_token() const {
  return mean(at_use, [](const bucket& one) { return one.tokens; });
}

} // namespace millrace::schedule
