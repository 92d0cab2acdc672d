#include "runtime/columns/answer_columns.hpp"

#include "runtime/columns/column_builder.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

namespace millrace::columns {
namespace {

/// What answers have for each token, one after another.
struct packed_answers {
  std::vector<std::int32_t> tokens, lengths;
  std::vector<float> logprob;
  std::vector<std::uint32_t> version;
  std::vector<std::uint8_t> finish, recomputed, mask;
  std::vector<std::int32_t> turns, turn_begins, turn_ends;
  std::vector<float> turn_reward;
  std::vector<std::uint8_t> turn_new_segment;

  explicit packed_answers(const std::vector<rollout::answer>& answers) {
    for (const auto& answer : answers) {
      tokens.insert(tokens.end(), answer.tokens.begin(), answer.tokens.end());
      logprob.insert(logprob.end(), answer.logprob.begin(), answer.logprob.end());
      version.insert(version.end(), answer.version.begin(), answer.version.end());
      const auto first = recomputed.size();
      recomputed.resize(tokens.size(), 0);
      for (const auto token : answer.recomputed)
        recomputed[first + static_cast<std::size_t>(token)] = 1;
      lengths.push_back(static_cast<std::int32_t>(answer.tokens.size()));
      finish.push_back(static_cast<std::uint8_t>(answer.finish));
      add_turns(answer, first);
    }
  }

  /// @param first token of the answer among all
  void add_turns(const rollout::answer& answer, std::size_t first) {
    mask.resize(tokens.size(), answer.turns.empty() ? 1 : 0);
    turns.push_back(static_cast<std::int32_t>(answer.turns.size()));
    for (const auto& turn : answer.turns) {
      const auto end = turn.end < 0 ? mask.end() : mask.begin() + static_cast<std::ptrdiff_t>(first) + turn.end;
      std::fill(mask.begin() + static_cast<std::ptrdiff_t>(first) + turn.begin, end, std::uint8_t{1});
      turn_begins.push_back(turn.begin);
      turn_ends.push_back(turn.end);
      turn_reward.push_back(turn.reward);
      turn_new_segment.push_back(turn.new_segment ? 1 : 0);
    }
  }

  void add_to(column_builder& columns) const {
    columns.add(column::tokens, tokens)
        .add(column::logprob, logprob)
        .add(column::version, version)
        .add(column::lengths, lengths)
        .add(column::finish, finish);
    if (std::find(recomputed.begin(), recomputed.end(), 1) != recomputed.end())
      columns.add(column::recomputed, recomputed);
    if (!turn_begins.empty())
      columns.add(column::turns, turns)
          .add(column::turn_begins, turn_begins)
          .add(column::turn_ends, turn_ends)
          .add(column::turn_reward, turn_reward);
    if (std::find(turn_new_segment.begin(), turn_new_segment.end(), 1) != turn_new_segment.end())
      columns.add(column::turn_new_segment, turn_new_segment);
  }
};

/// Calls `visit` with the version of each token that the policy sampled.
template <class Visit>
void each_sampled(const rollout::answer& answer, Visit visit) {
  if (answer.turns.empty())
    std::for_each(answer.version.begin(), answer.version.end(), visit);
  for (const auto& turn : answer.turns)
    std::for_each(answer.version.begin() + turn.begin,
                  turn.end < 0 ? answer.version.end() : answer.version.begin() + turn.end, visit);
}

} // namespace

transport::bundle columns_of(const std::vector<std::int32_t>& prompt, const rollout::finished_group& group,
                             std::size_t greedy, const text::tokenizer* tok) {
  const packed_answers packed(group.answers);
  std::vector<std::int32_t> text_lengths;
  std::string text;
  for (const auto& answer : group.answers) {
    text += answer.text;
    text_lengths.push_back(static_cast<std::int32_t>(answer.text.size()));
  }
  std::vector<std::uint8_t> is_greedy(group.answers.size(), 0);
  std::fill(is_greedy.end() - static_cast<std::ptrdiff_t>(greedy), is_greedy.end(), 1);
  column_builder columns; // copies when it is finished: what is added lives until then
  columns.add(column::prompt_tokens, prompt)
      .add(column::mask, packed.mask)
      .add(column::text, text)
      .add(column::text_lengths, text_lengths);
  packed.add_to(columns);
  std::string episode;
  std::vector<std::int32_t> episode_lengths;
  if (tok && !packed.turn_begins.empty()) {
    for (const auto& answer : group.answers) {
      const auto all = tok->decode(answer.tokens);
      episode += all;
      episode_lengths.push_back(static_cast<std::int32_t>(all.size()));
    }
    columns.add(column::episode, episode).add(column::episode_lengths, episode_lengths);
  }
  if (greedy > 0)
    columns.add(column::greedy, is_greedy);
  if (!group.kept.empty())
    columns.add(column::kept, group.kept);
  return columns.finish();
}

transport::bundle columns_of(const rollout::partial_group& group) {
  const packed_answers packed(group.answers);
  column_builder columns;
  columns.add(column::ended, group.ended);
  packed.add_to(columns);
  return columns.finish();
}

std::vector<std::vector<rollout::answer_turn>> turns_in(const column_set& columns) {
  std::vector<std::vector<rollout::answer_turn>> turns;
  if (!columns.has(column::turns))
    return turns;
  const auto counts = columns.view(column::turns);
  const auto begins = by_answer(columns.view(column::turn_begins), counts);
  const auto ends = by_answer(columns.view(column::turn_ends), counts);
  const auto rewards = by_answer(columns.view(column::turn_reward), counts);
  std::vector<std::span<const std::uint8_t>> anew(counts.size());
  if (columns.has(column::turn_new_segment))
    anew = by_answer(columns.view(column::turn_new_segment), counts);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    auto& of_answer = turns.emplace_back();
    for (std::size_t k = 0; k < begins[i].size(); ++k)
      of_answer.push_back({.begin = begins[i][k],
                           .end = ends[i][k],
                           .reward = rewards[i][k],
                           .new_segment = !anew[i].empty() && anew[i][k] != 0});
  }
  return turns;
}

model::segment_begins segments_in(const column_set& columns) {
  model::segment_begins begins;
  if (!columns.has(column::turn_new_segment))
    return begins;
  const auto counts = columns.view(column::turns);
  const auto ends = by_answer(columns.view(column::turn_ends), counts);
  const auto anew = by_answer(columns.view(column::turn_new_segment), counts);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    auto& of_answer = begins.emplace_back();
    for (std::size_t k = 1; k < anew[i].size(); ++k)
      if (anew[i][k] != 0)
        of_answer.push_back(ends[i][k - 1]);
  }
  return begins;
}

rollout::partial_group partial_of(std::uint64_t group, const column_set& columns) {
  const auto lengths = columns.view(column::lengths);
  const auto ended = columns.view(column::ended), finish = columns.view(column::finish);
  const auto tokens = by_answer(columns.view(column::tokens), lengths);
  const auto logprob = by_answer(columns.view(column::logprob), lengths);
  const auto version = by_answer(columns.view(column::version), lengths);
  if (ended.size() != lengths.size() || finish.size() != lengths.size())
    throw std::invalid_argument("partial group: want ended and finish of each answer");
  rollout::partial_group out{group, {}, {ended.begin(), ended.end()}};
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    auto& answer = out.answers.emplace_back();
    answer.tokens.assign(tokens[i].begin(), tokens[i].end());
    answer.logprob.assign(logprob[i].begin(), logprob[i].end());
    answer.version.assign(version[i].begin(), version[i].end());
    answer.finish = static_cast<rollout::finish_reason>(finish[i]);
  }
  if (const auto turns = turns_in(columns); !turns.empty())
    for (std::size_t i = 0; i < lengths.size(); ++i)
      out.answers[i].turns = turns[i];
  if (columns.has(column::recomputed)) {
    const auto recomputed = by_answer(columns.view(column::recomputed), lengths);
    for (std::size_t i = 0; i < lengths.size(); ++i)
      for (std::size_t t = 0; t < recomputed[i].size(); ++t)
        if (recomputed[i][t] != 0)
          out.answers[i].recomputed.push_back(static_cast<std::int32_t>(t));
  }
  return out;
}

std::map<std::uint32_t, std::int64_t> tokens_by_version(const std::vector<rollout::answer>& answers,
                                                        std::size_t greedy) {
  std::map<std::uint32_t, std::int64_t> tokens;
  for (std::size_t i = 0; i + greedy < answers.size(); ++i)
    each_sampled(answers[i], [&](std::uint32_t version) { ++tokens[version]; });
  return tokens;
}

std::map<std::uint32_t, std::int64_t> tokens_by_oldest_version(const rollout::finished_group& group,
                                                               std::size_t greedy) {
  std::map<std::uint32_t, std::int64_t> tokens;
  for (std::size_t i = 0; i + greedy < group.answers.size(); ++i)
    if (const auto sampled = sampled_tokens(group.answers[i]); sampled > 0) {
      auto oldest = std::numeric_limits<std::uint32_t>::max();
      each_sampled(group.answers[i], [&](std::uint32_t version) { oldest = std::min(oldest, version); });
      tokens[oldest] += sampled;
    }
  return tokens;
}

std::int64_t greedy_tokens(const rollout::finished_group& group, std::size_t greedy) {
  std::int64_t tokens = 0;
  for (std::size_t i = group.answers.size() - greedy; i < group.answers.size(); ++i)
    tokens += sampled_tokens(group.answers[i]);
  return tokens;
}

} // namespace millrace::columns
