#include "runtime/train/mask_old.hpp"

#include <algorithm>

namespace millrace::train {

std::int64_t mask_old(std::span<training_group> groups, age_mask how, std::uint32_t train_from) {
  if (how == age_mask::none)
    return 0;
  std::int64_t taken = 0;
  for (auto& group : groups) {
    const auto old = [&](std::uint32_t version) { return version < train_from; };
    if (std::none_of(group.version.begin(), group.version.end(),
                     [&](const auto& answer) { return std::any_of(answer.begin(), answer.end(), old); }))
      continue;
    group.trains.clear();
    for (std::size_t i = 0; i < group.version.size(); ++i) {
      const auto& versions = group.version[i];
      auto& trains = group.trains.emplace_back(versions.size(), std::uint8_t{1});
      const bool whole = how == age_mask::answers && std::any_of(versions.begin(), versions.end(), old);
      for (std::size_t t = 0; t < versions.size(); ++t)
        trains[t] = !whole && !(how == age_mask::tokens && old(versions[t]));
      taken += trained_tokens(group, i) - tokens_in_loss(group, i);
    }
  }
  return taken;
}

std::int64_t tokens_in_loss(const training_group& group, std::size_t answer) {
  if (group.trains.empty())
    return trained_tokens(group, answer);
  std::int64_t tokens = 0;
  for (std::size_t t = 0; t < group.trains[answer].size(); ++t)
    tokens += group.trains[answer][t] != 0 && (group.mask.empty() || group.mask[answer][t] != 0);
  return tokens;
}

} // namespace millrace::train
