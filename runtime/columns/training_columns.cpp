#include "runtime/columns/training_columns.hpp"

#include "runtime/columns/answer_columns.hpp"
#include "runtime/columns/column_origin.hpp"
#include "runtime/train/step_record.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace millrace::columns {
namespace {

template <class T>
std::vector<std::vector<T>> nested(std::span<const T> packed, std::span<const std::int32_t> lengths) {
  std::vector<std::vector<T>> answers;
  for (const auto answer : by_answer(packed, lengths))
    answers.emplace_back(answer.begin(), answer.end());
  return answers;
}

template <class T>
std::vector<T> copied(std::span<const T> values) {
  return {values.begin(), values.end()};
}

std::invalid_argument wrong_count(std::string_view column, std::size_t entries, std::size_t answers) {
  return std::invalid_argument("column '" + std::string(column) + "' has " + std::to_string(entries) + " entries for "
                               + std::to_string(answers) + " answers");
}

/// The answers with what the rollout stamped on their tokens.
void take_answers(train::training_group& group, const column_set& columns) {
  const auto lengths = columns.view(column::lengths);
  group.prompt = copied(columns.view(column::prompt_tokens));
  group.answers = nested(columns.view(column::tokens), lengths);
  if (const auto mask = columns.view(column::mask); std::find(mask.begin(), mask.end(), 0) != mask.end()) {
    group.mask = nested(mask, lengths);
    (columns.has(column::turns) ? group.observed_tokens : group.masked_tokens) =
        std::count(mask.begin(), mask.end(), 0);
  }
  group.segments = segments_in(columns);
  group.behaviour_logprob = nested(columns.view(column::logprob), lengths);
  group.version = nested(columns.view(column::version), lengths);
  const auto recomputed = columns.has(column::recomputed) ? by_answer(columns.view(column::recomputed), lengths)
                                                          : std::vector<std::span<const std::uint8_t>>(lengths.size());
  for (std::size_t i = 0; i < lengths.size(); ++i)
    group.sampled.push_back(train::runs_of(group.version[i], recomputed[i]));
  if (columns.has(column::kept))
    for (const auto index : columns.view(column::kept))
      group.kept.push_back(static_cast<std::uint32_t>(index));
  if (!group.kept.empty() && group.kept.size() != group.answers.size())
    throw std::invalid_argument("column 'kept': want one entry an answer");
}

/// The columns of several rewards, and their weighted sum.
void take_parts(train::training_group& group, const column_set& columns,
                std::span<const pipeline::reward_part_table> rewards) {
  std::vector<double> sum(group.answers.size());
  for (const auto& part : rewards) {
    const auto column = column::reward_of(part.name);
    const auto values = columns.view(column);
    if (values.size() != sum.size())
      throw wrong_count(column.name, values.size(), sum.size());
    for (std::size_t i = 0; i < sum.size(); ++i)
      sum[i] += part.weight * values[i];
    group.parts.push_back(copied(values));
  }
  group.reward.assign(sum.begin(), sum.end());
}

/// What was written in which turn. @param apart the turns have advantages of their own
void take_turns(train::training_group& group, const column_set& columns, bool apart) {
  if (!columns.has(column::turns))
    return;
  const auto tokens = by_answer(columns.view(column::tokens), columns.view(column::lengths));
  const auto finish = columns.view(column::finish);
  if (finish.size() != tokens.size())
    throw wrong_count(column::finish.name, finish.size(), tokens.size());
  for (const auto& turns : turns_in(columns)) {
    const auto i = group.played.size();
    auto& played = group.played.emplace_back();
    played.finish = finish[i];
    for (std::size_t k = 0; k < turns.size(); ++k) {
      const auto begin = tokens[i].begin();
      const bool last = k + 1 == turns.size();
      played.said.emplace_back(begin + turns[k].end, begin + (last ? turns[k].end : turns[k + 1].begin));
      played.rewards.push_back(turns[k].reward);
      if (!last && turns[k + 1].new_segment)
        played.segments.push_back(static_cast<std::int32_t>(k));
    }
    if (!apart)
      continue;
    auto& written = group.turns.emplace_back();
    for (const auto& turn : turns)
      written.push_back({.tokens = turn.end - turn.begin, .reward = turn.reward});
  }
}

void take_rewards(train::training_group& group, const column_set& columns,
                  std::span<const pipeline::reward_part_table> rewards) {
  if (rewards.empty())
    group.reward = copied(columns.view(column::reward));
  else
    take_parts(group, columns, rewards);
  if (group.reward.size() != group.answers.size())
    throw wrong_count(column::reward.name, group.reward.size(), group.answers.size());
}

/// Calls `change` on each column of a group that has an entry for each token; one that is not there is empty.
template <class Change>
void each_token_column(train::training_group& group, Change change) {
  const auto if_there = [&](auto& column) {
    if (!column.empty())
      change(column);
  };
  change(group.answers);
  if_there(group.segments);
  if_there(group.turns);
  if_there(group.mask);
  change(group.behaviour_logprob);
  change(group.version);
  if_there(group.ref_logprob);
  if_there(group.value);
}

/// Takes the tokens off answers that were cut off.
void mask_truncated(train::training_group& group, std::span<const std::uint8_t> finish) {
  for (std::size_t i = 0; i < group.answers.size() && i < finish.size(); ++i)
    if (finish[i] != 0) {
      group.masked_tokens += trained_tokens(group, i);
      each_token_column(group, [i](auto& column) { column[i].clear(); });
    }
}

/// Makes the last answer the group's baseline.
void take_baseline(train::training_group& group, std::span<const std::uint8_t> greedy) {
  if (greedy.size() != group.answers.size() || greedy.empty() || greedy.back() == 0)
    throw std::invalid_argument("column 'greedy': want one entry an answer, the last one set");
  each_token_column(group, [](auto& column) { column.pop_back(); });
  for (auto& part : group.parts)
    part.pop_back();
  const float baseline = group.reward.back();
  group.reward.pop_back();
  group.baseline.assign(group.reward.size(), baseline);
}

/// Takes the answers without a score out of the group, as if they had never been asked for.
void leave_out_unscored(train::training_group& group) {
  std::vector<std::size_t> left;
  for (std::size_t i = 0; i < group.reward.size(); ++i)
    if (!std::isnan(group.reward[i]))
      left.push_back(i);
    else
      group.masked_tokens += trained_tokens(group, i);
  if (left.size() == group.reward.size())
    return;
  if (left.size() < 2)
    throw too_few_scored(std::to_string(left.size()) + " of " + std::to_string(group.reward.size())
                         + " answers have a score, want at least two");
  if (group.kept.empty()) // the others are found by their places among all that were begun
    for (std::uint32_t i = 0; i < group.sampled.size(); ++i)
      group.kept.push_back(i);
  const auto only_left = [&](auto& column) {
    if (column.empty())
      return;
    const auto rest = column.begin() + static_cast<std::ptrdiff_t>(group.reward.size()); // the greedy answer's
    std::decay_t<decltype(column)> kept;
    for (const std::size_t i : left)
      kept.push_back(std::move(column[i]));
    kept.insert(kept.end(), rest, column.end());
    column = std::move(kept);
  };
  each_token_column(group, only_left);
  for (auto& part : group.parts)
    only_left(part);
  only_left(group.baseline);
  only_left(group.sampled);
  only_left(group.played);
  only_left(group.kept);
  only_left(group.reward);
}

/// Counts the turns and segments of the group's answers, without those that are no answers of it any more.
void count_turns(train::training_group& group) {
  for (std::size_t i = 0; i < group.answers.size() && i < group.played.size(); ++i) {
    group.turns_written += std::ssize(group.played[i].rewards);
    group.segments_written += 1 + std::ssize(group.played[i].segments);
  }
}

} // namespace

training_rules training_rules_of(const pipeline::pipeline& p) {
  const auto& table = std::get<pipeline::policy_table>(p.policy().options);
  return {.mask_truncated = table.mask_truncated, .rewards = table.rewards, .turn_credit = table.credit == "turn"};
}

train::training_group training_group_of(std::uint64_t id, const column_set& columns, const training_rules& rules,
                                        std::string domain) {
  train::training_group group;
  group.id = id;
  group.domain = std::move(domain);
  take_answers(group, columns);
  group.origins = origins_in(columns);
  take_rewards(group, columns, rules.rewards);
  take_turns(group, columns, rules.turn_credit);
  const auto lengths = columns.view(column::lengths);
  if (columns.has(column::ref_logprob))
    group.ref_logprob = nested(columns.view(column::ref_logprob), lengths);
  if (columns.has(column::value))
    group.value = nested(columns.view(column::value), lengths);
  if (columns.has(column::greedy))
    take_baseline(group, columns.view(column::greedy));
  if (rules.mask_truncated)
    mask_truncated(group, columns.view(column::finish));
  leave_out_unscored(group);
  count_turns(group);
  return group;
}

bool is_flat(const train::training_group& group) {
  const auto same_rewards = [](const auto& a, const auto& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const auto& x, const auto& y) { return x.reward == y.reward; });
  };
  return std::all_of(group.reward.begin(), group.reward.end(),
                     [&](float reward) { return reward == group.reward.front(); })
         && std::all_of(group.turns.begin(), group.turns.end(),
                        [&](const auto& turns) { return same_rewards(turns, group.turns.front()); });
}

} // namespace millrace::columns
