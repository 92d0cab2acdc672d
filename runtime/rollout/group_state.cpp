#include "runtime/rollout/group_state.hpp"

#include <algorithm>

namespace millrace::rollout {

void group_state::find_last_kept() {
  std::vector<std::pair<std::size_t, std::int32_t>> ranks;
  for (std::int32_t i = 0; i < request.answers; ++i)
    if (ended[static_cast<std::size_t>(i)])
      ranks.push_back(rank(i));
  if (ranks.size() < static_cast<std::size_t>(request.needed))
    return;
  const auto last = ranks.begin() + (request.needed - 1);
  std::ranges::nth_element(ranks, last);
  last_kept = *last;
}

void group_state::keep_shortest() {
  std::vector<answer> kept;
  for (std::int32_t i = 0; i < request.answers; ++i) {
    auto& each = result.answers[static_cast<std::size_t>(i)];
    if (!ended[static_cast<std::size_t>(i)] || rank(i) > *last_kept) {
      result.surplus_tokens += sampled_tokens(each);
      continue;
    }
    result.kept.push_back(i);
    kept.push_back(std::move(each));
  }
  result.answers = std::move(kept);
}

} // namespace millrace::rollout
