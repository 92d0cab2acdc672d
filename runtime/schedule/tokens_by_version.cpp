#include "runtime/schedule/tokens_by_version.hpp"

#include <algorithm>

namespace millrace::schedule {

template <class Count> void tokens_by_version::fill(std::span<const version_tokens> tokens) {
  first_ = tokens.front().version;
  width_ = sizeof(Count);
  const auto versions = tokens.back().version - first_ + 1;
  const auto bytes = bytes_.reset(versions * static_cast<std::uint32_t>(sizeof(Count)));
  if (versions != tokens.size())
    std::fill(bytes.begin(), bytes.end(), std::uint8_t{0});
  for (const auto& part : tokens) {
    const auto count = static_cast<Count>(part.tokens);
    std::memcpy(bytes.data() + (part.version - first_) * sizeof count, &count, sizeof count);
  }
}

void tokens_by_version::assign(const std::vector<version_tokens>& tokens) {
  if (tokens.empty())
    return clear();
  std::int64_t bits = 0; // no count needs a bit that their union does not have
  for (const auto& part : tokens)
    bits |= part.tokens;
  if (bits <= 0xff)
    fill<std::uint8_t>(tokens);
  else if (bits <= 0xffff)
    fill<std::uint16_t>(tokens);
  else
    fill<std::uint32_t>(tokens);
}

void tokens_by_version::assign(version_id version, std::int64_t tokens) {
  const version_tokens all{version, tokens};
  fill<std::uint32_t>({&all, 1});
}

version_run tokens_by_version::since(version_id oldest) const {
  const auto run = all();
  if (run.empty() || run.first >= oldest)
    return run;
  if (run.last() < oldest)
    return {};
  auto from = run.last();
  run.each([&](version_id version, std::uint32_t tokens) {
    if (version >= oldest && version < from && tokens > 0)
      from = version;
  });
  return {from, run.width, run.bytes.subspan((from - run.first) * run.width)};
}

std::int64_t tokens_by_version::sum_before(version_id oldest) const {
  std::int64_t sum = 0;
  all().each([&](version_id version, std::uint32_t tokens) { sum += version < oldest ? tokens : 0; });
  return sum;
}

} // namespace millrace::schedule
