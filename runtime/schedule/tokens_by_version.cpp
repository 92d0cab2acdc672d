#include "runtime/schedule/tokens_by_version.hpp"

#include <algorithm>

namespace millrace::schedule {

void tokens_by_version::assign(const std::vector<version_tokens>& tokens) {
  if (tokens.empty())
    return clear();
  first_ = tokens.front().version;
  const auto versions = tokens.back().version - first_ + 1;
  const auto into = tokens_.reset(versions);
  if (versions == tokens.size()) {
    for (std::size_t i = 0; i < into.size(); ++i)
      into[i] = static_cast<std::uint32_t>(tokens[i].tokens);
    return;
  }
  std::fill(into.begin(), into.end(), 0);
  for (const auto& part : tokens)
    into[part.version - first_] = static_cast<std::uint32_t>(part.tokens);
}

void tokens_by_version::assign(version_id version, std::int64_t tokens) {
  first_ = version;
  tokens_.reset(1)[0] = static_cast<std::uint32_t>(tokens);
}

version_run tokens_by_version::since(version_id oldest) const {
  const auto run = all();
  if (run.empty() || run.first >= oldest)
    return run;
  if (run.last() < oldest)
    return {};
  auto at = oldest - run.first;
  while (at + 1 < run.tokens.size() && run.tokens[at] == 0)
    ++at;
  return {run.first + at, run.tokens.subspan(at)};
}

std::int64_t tokens_by_version::sum_before(version_id oldest) const {
  std::int64_t sum = 0;
  const auto run = all();
  for (std::size_t i = 0; i < run.tokens.size() && run.first + i < oldest; ++i)
    sum += run.tokens[i];
  return sum;
}

} // namespace millrace::schedule
