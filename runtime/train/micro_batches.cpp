#include "runtime/train/micro_batches.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace millrace::train {
namespace {

/// All but the last token of an answer is fed.
std::int64_t rows_of(const std::vector<std::int32_t>& answer) {
  return std::max<std::int64_t>(static_cast<std::int64_t>(answer.size()) - 1, 0);
}

std::int64_t fed_tokens_of(const training_group& group) {
  auto fed = static_cast<std::int64_t>(group.prompt.size());
  for (const auto& answer : group.answers)
    fed += rows_of(answer);
  return fed;
}

algorithms::step_totals totals_of(std::span<const training_group> groups) {
  algorithms::step_totals totals;
  for (const auto& group : groups) {
    const std::int64_t before = totals.tokens;
    for (std::size_t i = 0; i < group.answers.size(); ++i) {
      const std::int64_t tokens = trained_tokens(group, i);
      totals.tokens += tokens;
      totals.answers += tokens > 0;
    }
    totals.groups += totals.tokens > before;
  }
  return totals;
}

} // namespace

std::vector<micro_batch> cut_micro_batches(std::span<const training_group> groups, std::int64_t budget,
                                           algorithms::unit whole) {
  std::vector<micro_batch> out;
  micro_batch open;
  const auto close = [&] {
    const std::int64_t next_token = open.first_token + open.tokens, next_answer = open.first_answer + open.answers;
    if (!open.parts.empty())
      out.push_back(std::move(open));
    open = {};
    open.first_token = next_token;
    open.first_answer = next_answer;
  };
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto prompt = static_cast<std::int64_t>(groups[g].prompt.size());
    bool fed = false; // the prompt, in the open micro-batch
    const bool together = whole == algorithms::unit::group;
    if (together && !open.parts.empty() && open.fed_tokens + fed_tokens_of(groups[g]) > budget)
      close();
    for (std::size_t i = 0; i < groups[g].answers.size(); ++i) {
      const std::int64_t tokens = trained_tokens(groups[g], i);
      const std::int64_t rows = rows_of(groups[g].answers[i]);
      if (!together && !open.parts.empty() && open.fed_tokens + rows + (fed ? 0 : prompt) > budget) {
        close();
        fed = false;
      }
      if (!fed) {
        open.parts.push_back({g, i, 0});
        open.fed_tokens += prompt;
        fed = true;
      }
      open.fed_tokens += rows;
      open.tokens += tokens;
      ++open.parts.back().answers;
      ++open.answers;
    }
  }
  close();
  return out;
}

std::vector<update_part> cut_at(std::span<const training_group> groups, std::span<const std::size_t> ends,
                                std::int64_t budget, algorithms::unit whole) {
  std::vector<update_part> out;
  std::int64_t token = 0, answer = 0;
  std::size_t first = 0;
  for (const std::size_t end : ends) {
    const auto own = groups.subspan(first, end - first);
    update_part part{cut_micro_batches(own, budget, whole), totals_of(own)};
    for (micro_batch& batch : part.micro_batches) {
      for (group_part& piece : batch.parts)
        piece.group += first;
      batch.first_token += token;
      batch.first_answer += answer;
    }
    token += part.totals.tokens;
    for (const auto& group : own)
      answer += static_cast<std::int64_t>(group.answers.size());
    out.push_back(std::move(part));
    first = end;
  }
  return out;
}

std::vector<update_part> cut_updates(std::span<const training_group> groups, std::int64_t updates, std::int64_t budget,
                                     algorithms::unit whole) {
  const std::size_t parts = std::min(groups.size(), static_cast<std::size_t>(std::max<std::int64_t>(updates, 1)));
  std::vector<std::size_t> ends;
  for (std::size_t u = 1; u <= parts; ++u)
    ends.push_back(groups.size() * u / parts);
  return cut_at(groups, ends, budget, whole);
}

model::packed_sequences pack_part(std::span<const training_group> groups, const micro_batch& batch) {
  std::vector<model::prompt_and_answers> views;
  for (const auto& part : batch.parts) {
    const training_group& group = groups[part.group];
    const auto first = group.answers.begin() + static_cast<std::ptrdiff_t>(part.first_answer);
    views.push_back({group.prompt, {first, first + static_cast<std::ptrdiff_t>(part.answers)}});
  }
  model::packed_sequences packed = model::pack(views);
  const bool masked = std::any_of(batch.parts.begin(), batch.parts.end(),
                                  [&](const auto& part) { return !groups[part.group].mask.empty(); });
  if (!masked)
    return packed;
  std::vector<std::int64_t> kept;
  std::int64_t token = 0;
  for (const auto& part : batch.parts)
    for (std::size_t i = part.first_answer; i < part.first_answer + part.answers; ++i)
      for (std::size_t t = 0; t < groups[part.group].answers[i].size(); ++t, ++token)
        if (groups[part.group].mask.empty() || groups[part.group].mask[i][t])
          kept.push_back(token);
  const at::Tensor places = at::tensor(kept, at::kLong);
  packed.rows = packed.rows.index_select(0, places);
  packed.targets = packed.targets.index_select(0, places);
  return packed;
}

} // namespace millrace::train
