#include "runtime/train/micro_batches.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace millrace::train {
namespace {

/// All but the last token of each segment is fed.
std::int64_t rows_of(const training_group& group, std::size_t answer) {
  const auto segments = 1 + std::ssize(model::begins_of(group.segments, answer));
  return std::max<std::int64_t>(std::ssize(group.answers[answer]) - segments, 0);
}

std::vector<fed_group> fed_of(std::span<const training_group> groups) {
  std::vector<fed_group> fed;
  for (const auto& group : groups) {
    auto& one = fed.emplace_back(fed_group{.prompt = static_cast<std::int64_t>(group.prompt.size()), .answers = {}});
    for (std::size_t i = 0; i < group.answers.size(); ++i)
      one.answers.push_back(rows_of(group, i));
  }
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

/// Micro-batches of some groups of a step, counted from the step's first.
void count_from(std::vector<micro_batch>& batches, std::size_t group, std::int64_t token, std::int64_t answer) {
  for (micro_batch& batch : batches) {
    for (group_part& piece : batch.parts)
      piece.group += group;
    batch.first_token += token;
    batch.first_answer += answer;
  }
}

} // namespace

std::vector<micro_batch> cut_micro_batches(std::span<const training_group> groups, const cut_rule& rule) {
  std::vector<micro_batch> out;
  std::int64_t token = 0, answer = 0;
  for (auto& fed : cut_at_once(fed_of(groups), rule.budget, rule.whole == algorithms::unit::group, rule.at_once)) {
    micro_batch made{.parts = std::move(fed.parts),
                     .fed_tokens = fed.fed_tokens,
                     .first_token = token,
                     .tokens = 0,
                     .first_answer = answer,
                     .answers = 0};
    for (const auto& part : made.parts) {
      made.answers += static_cast<std::int64_t>(part.answers);
      for (std::size_t i = part.first_answer; i < part.first_answer + part.answers; ++i)
        made.tokens += trained_tokens(groups[part.group], i);
    }
    token += made.tokens;
    answer += made.answers;
    out.push_back(std::move(made));
  }
  return out;
}

std::vector<update_part> cut_at(std::span<const training_group> groups, std::span<const std::size_t> ends,
                                const cut_rule& rule) {
  std::vector<update_part> out;
  std::int64_t token = 0, answer = 0;
  std::size_t first = 0;
  for (const std::size_t end : ends) {
    const auto own = groups.subspan(first, end - first);
    update_part part{cut_micro_batches(own, rule), totals_of(own), rule};
    count_from(part.micro_batches, first, token, answer);
    token += part.totals.tokens;
    for (const auto& group : own)
      answer += static_cast<std::int64_t>(group.answers.size());
    out.push_back(std::move(part));
    first = end;
  }
  return out;
}

void cut_again(update_part& part, std::span<const training_group> groups, const cut_rule& rule) {
  if (part.rule == rule || part.micro_batches.empty())
    return;
  const micro_batch &front = part.micro_batches.front(), &back = part.micro_batches.back();
  const std::size_t first = front.parts.front().group, end = back.parts.back().group + 1;
  auto batches = cut_micro_batches(groups.subspan(first, end - first), rule);
  count_from(batches, first, front.first_token, front.first_answer);
  part.micro_batches = std::move(batches);
  part.rule = rule;
}

std::vector<update_part> cut_updates(std::span<const training_group> groups, std::int64_t updates,
                                     const cut_rule& rule) {
  return cut_at(groups, ends_of_updates(groups.size(), updates), rule);
}

model::packed_sequences pack_part(std::span<const training_group> groups, const micro_batch& batch) {
  std::vector<model::prompt_and_answers> views, further;
  std::int64_t behind_prompts = 0; // tokens of first segments
  for (const auto& part : batch.parts) {
    const training_group& group = groups[part.group];
    auto& view = views.emplace_back(model::prompt_and_answers{group.prompt, {}});
    for (std::size_t i = part.first_answer; i < part.first_answer + part.answers; ++i) {
      const auto begins = model::begins_of(group.segments, i);
      behind_prompts += std::ssize(view.answers.emplace_back(model::first_segment(group.answers[i], begins)));
      for (const auto segment : model::further_segments(group.answers[i], begins))
        further.push_back({segment.first(1), {segment.subspan(1)}});
    }
  }
  views.insert(views.end(), further.begin(), further.end());
  model::packed_sequences packed = model::pack(views);
  const bool masked = std::any_of(batch.parts.begin(), batch.parts.end(),
                                  [&](const auto& part) { return !groups[part.group].mask.empty(); });
  if (!masked)
    return packed;
  std::vector<std::int64_t> kept;
  std::int64_t in_first = 0, in_further = behind_prompts; // places of the next tokens
  for (const auto& part : batch.parts)
    for (std::size_t i = part.first_answer; i < part.first_answer + part.answers; ++i) {
      const training_group& group = groups[part.group];
      const auto begins = model::begins_of(group.segments, i);
      const auto first = model::first_segment(group.answers[i], begins).size();
      for (std::size_t t = 0; t < group.answers[i].size(); ++t) {
        if (std::find(begins.begin(), begins.end(), static_cast<std::int32_t>(t)) != begins.end())
          continue; // a segment's first token, which nothing predicts
        const auto place = t < first ? in_first++ : in_further++;
        if (group.mask.empty() || group.mask[i][t])
          kept.push_back(place);
      }
    }
  const at::Tensor places = at::tensor(kept, at::kLong);
  packed.rows = packed.rows.index_select(0, places);
  packed.targets = packed.targets.index_select(0, places);
  return packed;
}

} // namespace millrace::train
