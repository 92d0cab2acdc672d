#include "runtime/schedule/staleness.hpp"

namespace millrace::schedule {

namespace {

template <class Count>
double mean(const std::map<std::uint32_t, staleness::bucket>& at_use, Count count) {
  double weighted = 0;
  double total = 0;
  for (const auto& [versions, one] : at_use) {
    weighted += static_cast<double>(versions) * static_cast<double>(count(one));
    total += static_cast<double>(count(one));
  }
  return total > 0 ? weighted / total : 0;
}

} // namespace

void staleness::add(std::uint32_t step, version_id born, const std::vector<version_tokens>& tokens) {
  const version_id oldest = tokens.empty() ? born : tokens.front().version;
  const version_id newest = tokens.empty() ? born : tokens.back().version;
  ++at_use[step - oldest].groups;
  for (const auto& part : tokens)
    at_use[step - part.version].tokens += part.tokens;
  in_flight += newest - oldest;
  in_queue += step - newest;
}

double staleness::mean_by_group() const {
  return mean(at_use, [](const bucket& one) { return one.groups; });
}

double staleness::mean_by_token() const {
  return mean(at_use, [](const bucket& one) { return one.tokens; });
}

std::uint32_t staleness::max() const {
  return at_use.empty() ? 0 : at_use.rbegin()->first;
}

} // namespace millrace::schedule
