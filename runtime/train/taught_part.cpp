#include "runtime/train/taught_part.hpp"

#include "runtime/train/step_columns.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>

namespace millrace::train {
namespace {

/// One after the last group of an update.
std::size_t end_of(const update_part& part) {
  return part.micro_batches.empty() ? 0 : part.micro_batches.back().parts.back().group + 1;
}

} // namespace

std::optional<taught_part> taught_part_of(std::span<const training_group> groups,
                                          const algorithms::answer_columns& answers, std::span<const update_part> parts,
                                          const cut_rule& rule) {
  const at::Tensor of_token = answers.group.repeat_interleave(answers.length);
  at::Tensor teaches = answers.advantage.ne(0);
  if (answers.trains.defined())
    teaches = teaches.logical_and(answers.trains);
  const at::Tensor tokens = at::bincount(of_token.masked_select(teaches), {}, static_cast<std::int64_t>(groups.size()));
  const at::Tensor stays = tokens.gt(0);
  const std::span stay(stays.mutable_data_ptr<bool>(), groups.size());
  taught_part kept;
  std::vector<std::size_t> ends;
  std::size_t first = 0;
  for (const auto& part : parts) {
    const std::size_t end = std::max(first, end_of(part));
    if (end > first && std::ranges::none_of(stay.subspan(first, end - first), std::identity()))
      stay[first] = true;
    for (std::size_t g = first; g < end; ++g)
      if (stay[g])
        kept.groups.push_back(groups[g]);
    ends.push_back(kept.groups.size());
    first = end;
  }
  if (kept.groups.size() == groups.size())
    return std::nullopt;
  kept.tokens = stays.index_select(0, of_token).nonzero().squeeze(1);
  kept.answers = selected(answers, kept.tokens, stays.index_select(0, answers.group).nonzero().squeeze(1));
  kept.parts = cut_at(kept.groups, ends, rule);
  for (std::size_t u = 0; u < parts.size(); ++u)
    kept.parts[u].totals = parts[u].totals;
  return kept;
}

} // namespace millrace::train
