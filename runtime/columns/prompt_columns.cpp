#include "runtime/columns/prompt_columns.hpp"

#include "runtime/columns/column_builder.hpp"

#include <cstdint>
#include <span>
#include <stdexcept>
#include <utility>

namespace millrace::columns {
namespace {

/// Texts one behind another, with the bytes of each.
struct text_list {
  std::string bytes;
  std::vector<std::int32_t> lengths;

  void add(const std::string& text) {
    bytes += text;
    lengths.push_back(static_cast<std::int32_t>(text.size()));
  }

  void add(const std::vector<chat_turn>& turns) {
    for (const auto& turn : turns) {
      add(turn.role);
      add(turn.content);
    }
  }
};

std::vector<chat_turn> turns_of(std::span<const char> bytes, std::span<const std::int32_t> lengths) {
  if (lengths.size() % 2 != 0)
    throw std::invalid_argument("turns of a conversation: want a role and a content each, found "
                                + std::to_string(lengths.size()) + " texts");
  const auto texts = by_answer(bytes, lengths);
  std::vector<chat_turn> turns;
  for (std::size_t i = 0; i < texts.size(); i += 2)
    turns.push_back(
        {std::string(texts[i].begin(), texts[i].end()), std::string(texts[i + 1].begin(), texts[i + 1].end())});
  return turns;
}

template <column_key Column>
std::string string_in(const column_set& columns, const Column& column) {
  const auto bytes = columns.view(column);
  return {bytes.begin(), bytes.end()};
}

} // namespace

transport::bundle columns_of(const prompt_content& row) {
  text_list prompt, demonstrations;
  prompt.add(row.prompt);
  std::vector<std::int32_t> turns;
  for (const auto& answer : row.demonstrations) {
    demonstrations.add(answer);
    turns.push_back(static_cast<std::int32_t>(answer.size()));
  }
  column_builder columns;
  columns.add(column::prompt, prompt.bytes)
      .add(column::prompt_lengths, prompt.lengths)
      .add(column::answer, row.answer)
      .add(column::data_source, row.data_source);
  if (!row.ground_truth.empty())
    columns.add(column::ground_truth, row.ground_truth);
  if (!row.extra_info.empty())
    columns.add(column::extra_info, row.extra_info);
  if (!row.demonstrations.empty())
    columns.add(column::demonstrations, demonstrations.bytes)
        .add(column::demonstration_lengths, demonstrations.lengths)
        .add(column::demonstration_turns, turns)
        .add(column::margin, std::span(&row.margin, 1));
  return columns.finish();
}

std::vector<chat_turn> prompt_in(const column_set& columns) {
  return turns_of(columns.view(column::prompt), columns.view(column::prompt_lengths));
}

std::string answer_in(const column_set& columns) {
  return string_in(columns, column::answer);
}

std::string ground_truth_in(const column_set& columns) {
  return columns.has(column::ground_truth) ? string_in(columns, column::ground_truth) : std::string();
}

std::string data_source_in(const column_set& columns) {
  return string_in(columns, column::data_source);
}

std::string extra_info_in(const column_set& columns) {
  return columns.has(column::extra_info) ? string_in(columns, column::extra_info) : std::string();
}

std::vector<std::vector<chat_turn>> demonstrations_in(const column_set& columns) {
  std::vector<std::vector<chat_turn>> answers;
  if (!columns.has(column::demonstrations))
    return answers;
  auto rest = turns_of(columns.view(column::demonstrations), columns.view(column::demonstration_lengths));
  std::size_t at = 0;
  for (const auto turns : columns.view(column::demonstration_turns)) {
    if (turns < 0 || static_cast<std::size_t>(turns) > rest.size() - at)
      throw std::invalid_argument("column 'demonstration_turns': found " + std::to_string(turns)
                                  + " turns, want at most " + std::to_string(rest.size() - at));
    auto& answer = answers.emplace_back();
    for (std::int32_t i = 0; i < turns; ++i)
      answer.push_back(std::move(rest[at++]));
  }
  if (at != rest.size())
    throw std::invalid_argument("column 'demonstration_turns': adds up to " + std::to_string(at) + " of "
                                + std::to_string(rest.size()) + " turns");
  return answers;
}

double margin_in(const column_set& columns) {
  if (!columns.has(column::margin))
    return 0;
  const auto margin = columns.view(column::margin);
  if (margin.size() != 1)
    throw std::invalid_argument("column 'margin': want one number");
  return margin.front();
}

prompt_content content_of(const column_set& columns) {
  return {.prompt = prompt_in(columns),
          .answer = answer_in(columns),
          .ground_truth = ground_truth_in(columns),
          .data_source = data_source_in(columns),
          .extra_info = extra_info_in(columns),
          .demonstrations = demonstrations_in(columns),
          .margin = margin_in(columns)};
}

} // namespace millrace::columns
