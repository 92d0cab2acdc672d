#include "runtime/schedule/tokens_by_version.hpp"

namespace millrace::schedule {

template <class Count>
void tokens_by_version::fill(const version_counts& tokens) {
  first_ = tokens.oldest();
  width_ = sizeof(Count);
  const auto counts = tokens.counts();
  auto* const to = bytes_.reset(static_cast<std::uint32_t>(counts.size() * sizeof(Count))).data();
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto count = static_cast<Count>(counts[i]);
    std::memcpy(to + i * sizeof count, &count, sizeof count);
  }
}

void tokens_by_version::assign(const version_counts& tokens) {
  std::uint32_t bits = 0; // no count needs a bit that their union does not have
  for (const auto count : tokens.counts())
    bits |= count;
  if (bits == 0)
    clear();
  else if (bits <= 0xff)
    fill<std::uint8_t>(tokens);
  else if (bits <= 0xffff)
    fill<std::uint16_t>(tokens);
  else
    fill<std::uint32_t>(tokens);
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
