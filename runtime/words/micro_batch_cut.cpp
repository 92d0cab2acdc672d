#include "runtime/words/micro_batch_cut.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace millrace {

std::vector<fed_batch> cut_by_tokens(std::span<const fed_group> groups, std::int64_t budget, bool whole_groups) {
  std::vector<fed_batch> out;
  fed_batch open;
  const auto close = [&] {
    if (!open.parts.empty())
      out.push_back(std::exchange(open, {}));
  };
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto& group = groups[g];
    bool fed = false; // the prompt, in the open micro-batch
    if (whole_groups
        && std::accumulate(group.answers.begin(), group.answers.end(), open.fed_tokens + group.prompt) > budget)
      close();
    for (std::size_t i = 0; i < group.answers.size(); ++i) {
      if (!whole_groups && open.fed_tokens + group.answers[i] + (fed ? 0 : group.prompt) > budget) {
        close();
        fed = false;
      }
      if (!fed) {
        open.parts.push_back({g, i, 0});
        open.fed_tokens += group.prompt;
        fed = true;
      }
      open.fed_tokens += group.answers[i];
      ++open.parts.back().answers;
    }
  }
  close();
  return out;
}

std::vector<fed_batch> cut_at_once(std::span<const fed_group> groups, std::int64_t budget, bool whole_groups,
                                   int at_once) {
  auto best = cut_by_tokens(groups, budget, whole_groups);
  if (at_once < 2 || best.empty())
    return best;
  const auto rounds = (best.size() + static_cast<std::size_t>(at_once) - 1) / static_cast<std::size_t>(at_once);
  const auto most = rounds * static_cast<std::size_t>(at_once);
  std::int64_t longest = 0;
  for (const auto& batch : best)
    longest = std::max(longest, batch.fed_tokens);
  // The smallest budget that takes no more micro-batches.
  for (std::int64_t too_small = 0, enough = longest; enough - too_small > 1;) {
    const auto middle = too_small + (enough - too_small) / 2;
    auto cut = cut_by_tokens(groups, middle, whole_groups);
    if (cut.size() > most) {
      too_small = middle;
      continue;
    }
    enough = middle;
    best = std::move(cut);
  }
  return best;
}

std::vector<std::size_t> ends_of_updates(std::size_t groups, std::int64_t updates) {
  const std::size_t parts = std::min(groups, static_cast<std::size_t>(std::max<std::int64_t>(updates, 1)));
  std::vector<std::size_t> ends;
  for (std::size_t u = 1; u <= parts; ++u)
    ends.push_back(groups * u / parts);
  return ends;
}

std::vector<std::size_t> longest_first(std::span<const std::int64_t> fed_tokens) {
  std::vector<std::size_t> order(fed_tokens.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return fed_tokens[a] > fed_tokens[b]; });
  return order;
}

} // namespace millrace
