#include "runtime/schedule/version_counts.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace millrace::schedule {

namespace {

constexpr std::int64_t most_tokens = 0xffffffff;
constexpr version_id most_apart = 1u << 20; ///< versions: what lies further back was stamped wrongly

} // namespace

version_counts::version_counts(std::initializer_list<version_tokens> parts) {
  for (const auto& part : parts)
    add(part.version, part.tokens);
}

void version_counts::add(version_id version, std::int64_t tokens) {
  if (tokens < 0 || tokens > most_tokens)
    throw std::invalid_argument("tokens of version " + std::to_string(version) + ": found " + std::to_string(tokens)
                                + ", want 0 to " + std::to_string(most_tokens));
  if (tokens == 0)
    return;
  const auto from = empty() ? version : std::min(oldest_, version),
             to = empty() ? version : std::max(newest(), version);
  if (to - from > most_apart)
    throw std::invalid_argument("tokens of version " + std::to_string(version) + ": found beside those of version "
                                + std::to_string(version == to ? from : to) + ", want at most "
                                + std::to_string(most_apart) + " versions in between");
  if (!empty() && from < oldest_)
    counts_.insert(counts_.begin(), oldest_ - from, 0);
  oldest_ = from;
  counts_.resize(to - from + 1);
  const auto sum = counts_[version - from] + tokens;
  if (sum > most_tokens)
    throw std::invalid_argument("tokens of version " + std::to_string(version) + ": found " + std::to_string(sum)
                                + ", want 0 to " + std::to_string(most_tokens));
  counts_[version - from] = static_cast<std::uint32_t>(sum);
}

void version_counts::add(const version_counts& more) {
  for (const auto& part : more)
    add(part.version, part.tokens);
}

std::span<std::uint32_t> version_counts::reset(version_id oldest, std::size_t versions) {
  oldest_ = oldest;
  counts_.resize(versions);
  return counts_;
}

std::int64_t version_counts::sum() const {
  std::uint64_t sum = 0;
  for (const auto count : counts_)
    sum += count;
  return static_cast<std::int64_t>(sum);
}

bool version_counts::operator==(const version_counts& other) const {
  return counts_ == other.counts_ && (empty() || oldest_ == other.oldest_);
}

} // namespace millrace::schedule
