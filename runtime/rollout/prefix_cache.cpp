#include "runtime/rollout/prefix_cache.hpp"

#include <algorithm>
#include <ranges>
#include <utility>
#include <vector>

namespace millrace::rollout {
namespace {

constexpr auto block_size = static_cast<std::size_t>(kernels::cache_block_tokens);

} // namespace

prefix_cache::place prefix_cache::place_of(std::uint64_t before, std::span<const std::int32_t> tokens) {
  place made{.before = before, .tokens = {}};
  std::copy_n(tokens.begin(), block_size, made.tokens.begin());
  return made;
}

model::kv_sequence prefix_cache::find(std::span<const std::int32_t> tokens) {
  model::kv_sequence found(pool_);
  ++uses_;
  for (std::uint64_t before = 0; tokens.size() >= block_size; tokens = tokens.subspan(block_size)) {
    const auto here = blocks_.find(place_of(before, tokens));
    if (here == blocks_.end())
      break;
    here->second.used = uses_;
    found.append(here->second.block);
    before = here->second.id;
  }
  return found;
}

void prefix_cache::keep(std::span<const std::int32_t> tokens, const model::kv_sequence& sequence) {
  ++uses_;
  auto before = blocks_.end();
  const std::int64_t whole = sequence.length() / kernels::cache_block_tokens;
  for (std::int64_t b = 0; b < whole; ++b, tokens = tokens.subspan(block_size)) {
    const auto id = before == blocks_.end() ? 0 : before->second.id;
    const auto [here, is_new] = blocks_.try_emplace(place_of(id, tokens));
    if (is_new) {
      here->second = {.id = ++ids_, .block = sequence.shared_block(b), .before = before};
      if (before != blocks_.end())
        ++before->second.behind;
    }
    here->second.used = uses_;
    before = here;
  }
}

std::int64_t prefix_cache::idle() {
  std::int64_t count = 0;
  // The places behind a block are after its own: they have its id, which is above those before it.
  for (auto& [where, one] : std::views::reverse(blocks_)) {
    const bool held = std::exchange(one.holds_behind, false) || one.is_held();
    count += !held;
    if (held && one.before != blocks_.end())
      one.before->second.holds_behind = true;
  }
  return count;
}

void prefix_cache::let_go(std::int64_t blocks) {
  const auto newer = [](const auto& a, const auto& b) { return a->second.used > b->second.used; };
  const auto may_go = [](const entry& one) { return one.behind == 0 && !one.is_held(); };
  std::vector<entries::iterator> ends;
  if (blocks > 0)
    for (auto one = blocks_.begin(); one != blocks_.end(); ++one)
      if (may_go(one->second))
        ends.push_back(one);
  std::ranges::make_heap(ends, newer);
  for (; blocks > 0 && !ends.empty(); --blocks) {
    std::ranges::pop_heap(ends, newer);
    const auto before = ends.back()->second.before;
    blocks_.erase(ends.back());
    ends.pop_back();
    if (before == blocks_.end())
      continue;
    --before->second.behind;
    if (may_go(before->second)) {
      ends.push_back(before);
      std::ranges::push_heap(ends, newer);
    }
  }
}

void prefix_cache::clear() {
  blocks_.clear();
}

} // namespace millrace::rollout
