#pragma once

#include "runtime/words/tensor_spec.hpp"

#include <array>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace {

/// What a column has one element for.
enum class column_unit : std::uint8_t { group, prompt_token, answer, answer_token, turn, text, text_byte };

/// Whether a column comes with every group of a role that adds it.
enum class column_presence : std::uint8_t { always, sometimes };

/// A row of the table of columns.
struct column_row {
  std::string_view name; ///< `reward.<name>`: one column for each name
  dtype type;
  column_unit unit;
  column_presence presence;
  std::string_view added_by; ///< kinds of roles
  std::string_view meaning;
};

/// Everything that travels between roles. A role publishes its columns as one bundle a group. Columns of one unit have
/// the same number of elements; they are packed without padding, answer after answer.
///
/// A list of texts is two columns: the bytes of all of them, UTF-8, and the bytes that each has.
inline constexpr std::array column_table = [] {
  using enum dtype;
  using enum column_unit;
  using enum column_presence;
  return std::to_array<column_row>({
      // -- a row of the data -----------------------------------------------------------------------------------------
      {"prompt", u8, text_byte, always, "source", "turns of the conversation: role, content, role, content, ..."},
      {"prompt_lengths", i32, text, always, "source", "bytes of each text of `prompt`"},
      {"answer", u8, text_byte, always, "source", "the expected answer"},
      {"ground_truth", u8, text_byte, sometimes, "source", "the expected answer as JSON, where it is no text"},
      {"data_source", u8, text_byte, always, "source", "subject of the row"},
      {"extra_info", u8, text_byte, sometimes, "source", "verl's `extra_info` of the row, JSON"},
      {"demonstrations", u8, text_byte, sometimes, "source", "turns of the demonstrated answers, as `prompt` has them"},
      {"demonstration_lengths", i32, text, sometimes, "source", "bytes of each text of `demonstrations`"},
      {"demonstration_turns", i32, group, sometimes, "source", "turns of each demonstrated answer"},
      {"margin", f64, group, sometimes, "source", "how much better the first of two demonstrations is; 0: not said"},
      // -- a group's answers -----------------------------------------------------------------------------------------
      {"prompt_tokens", i32, prompt_token, always, "rollout, demonstrations", "the prompt, as the model reads it"},
      {"tokens", i32, answer_token, always, "rollout, demonstrations", "the answers"},
      {"mask", u8, answer_token, always, "rollout, demonstrations", "0: no part of the answer, fed to the model only"},
      {"logprob", f32, answer_token, always, "rollout, demonstrations", "as sampled; 0 where nobody sampled"},
      {"version", u32, answer_token, always, "rollout, demonstrations", "of the weights that sampled the token"},
      {"lengths", i32, answer, always, "rollout, demonstrations", "tokens of each answer"},
      {"finish", u8, answer, always, "rollout, demonstrations", "`rollout::finish_reason`: not 0: cut off"},
      {"text", u8, text_byte, always, "rollout, demonstrations", "the answers without special tokens"},
      {"text_lengths", i32, text, always, "rollout, demonstrations", "bytes of each text of `text`"},
      {"recomputed", u8, answer_token, sometimes, "rollout",
       "1: keys and values of everything before the token were computed anew"},
      {"greedy", u8, answer, sometimes, "rollout", "1: the likeliest tokens, there for its reward alone, not trained"},
      {"kept", i32, answer, sometimes, "rollout", "place of each answer among those that were begun"},
      {"turns", i32, answer, sometimes, "rollout", "of an episode: turns that the policy wrote in the answer"},
      {"turn_begins", i32, turn, sometimes, "rollout", "first token of the turn, counted within its answer"},
      {"turn_ends", i32, turn, sometimes, "rollout", "one after the last token of the turn; -1: it goes on"},
      {"turn_reward", f32, turn, sometimes, "rollout", "what the environment gave for the turn"},
      {"turn_new_segment", u8, turn, sometimes, "rollout",
       "1: what stands between the turn before and this one is read as a prompt of its own"},
      {"episode", u8, text_byte, sometimes, "rollout", "all that is said in each answer, with special tokens"},
      {"episode_lengths", i32, text, sometimes, "rollout", "bytes of each text of `episode`"},
      {"ended", u8, answer, always, "rollout", "of a group that was interrupted. 1: the answer is complete"},
      // -- what other roles say of them ------------------------------------------------------------------------------
      {"reward", f32, answer, always, "rule_verifier, reward_model, demonstrations",
       "what the answer is worth; NaN: it has no score and is not trained"},
      {"reward.<name>", f32, answer, always, "rule_verifier, reward_model",
       "a part of it: of one rule or one model; 0 where a rule has nothing to say of the answer"},
      {"ref_logprob", f32, answer_token, always, "reference", "log-probability under the reference"},
      {"value", f32, answer_token, always, "critic", "the return that the critic expects before the token"},
      {"returns", f32, answer_token, always, "policy", "of a whole batch: what the critic should have said"},
      {"origin.<column>", u32, group, always, "reward_model, reference, critic",
       "version and threads that `column` was computed with"},
  });
}();

/// The row of a name; of its family for a name such as `reward.number`. nullptr if the table has none.
constexpr const column_row* find_column(std::string_view name) {
  for (const column_row& row : column_table)
    if (row.name == name)
      return &row;
  for (const column_row& row : column_table)
    if (const auto end = row.name.find('<'); end != row.name.npos && name.starts_with(row.name.substr(0, end)))
      return &row;
  return nullptr;
}

/// The name of a column, with the type of its elements. @tparam Name std::string_view or std::string
template <class T, class Name = std::string_view>
struct typed_column {
  using element = T;
  Name name;
};

template <class Column>
concept column_key = requires(const Column& column) {
  typename Column::element;
  { column.name } -> std::convertible_to<std::string_view>;
};

namespace column {

/// A name of the table. Does not compile for a name that is not there or whose elements are no `T`.
template <class T>
consteval typed_column<T> of(std::string_view name) {
  const column_row* row = find_column(name);
  if (row == nullptr || !is_element_of<T>(row->type))
    throw name;
  return {row->name};
}

inline constexpr auto prompt = of<char>("prompt");
inline constexpr auto prompt_lengths = of<std::int32_t>("prompt_lengths");
inline constexpr auto answer = of<char>("answer");
inline constexpr auto ground_truth = of<char>("ground_truth");
inline constexpr auto data_source = of<char>("data_source");
inline constexpr auto extra_info = of<char>("extra_info");
inline constexpr auto demonstrations = of<char>("demonstrations");
inline constexpr auto demonstration_lengths = of<std::int32_t>("demonstration_lengths");
inline constexpr auto demonstration_turns = of<std::int32_t>("demonstration_turns");
inline constexpr auto margin = of<double>("margin");

inline constexpr auto prompt_tokens = of<std::int32_t>("prompt_tokens");
inline constexpr auto tokens = of<std::int32_t>("tokens");
inline constexpr auto mask = of<std::uint8_t>("mask");
inline constexpr auto logprob = of<float>("logprob");
inline constexpr auto version = of<std::uint32_t>("version");
inline constexpr auto lengths = of<std::int32_t>("lengths");
inline constexpr auto finish = of<std::uint8_t>("finish");
inline constexpr auto text = of<char>("text");
inline constexpr auto text_lengths = of<std::int32_t>("text_lengths");
inline constexpr auto recomputed = of<std::uint8_t>("recomputed");
inline constexpr auto greedy = of<std::uint8_t>("greedy");
inline constexpr auto kept = of<std::int32_t>("kept");
inline constexpr auto turns = of<std::int32_t>("turns");
inline constexpr auto turn_begins = of<std::int32_t>("turn_begins");
inline constexpr auto turn_ends = of<std::int32_t>("turn_ends");
inline constexpr auto turn_reward = of<float>("turn_reward");
inline constexpr auto turn_new_segment = of<std::uint8_t>("turn_new_segment");
inline constexpr auto episode = of<char>("episode");
inline constexpr auto episode_lengths = of<std::int32_t>("episode_lengths");
inline constexpr auto ended = of<std::uint8_t>("ended");

inline constexpr auto reward = of<float>("reward");
inline constexpr auto ref_logprob = of<float>("ref_logprob");
inline constexpr auto value = of<float>("value");
inline constexpr auto returns = of<float>("returns");

inline constexpr auto any_reward = of<float>("reward.<name>");
inline constexpr auto any_origin = of<std::uint32_t>("origin.<column>");

/// What the names of a family of columns begin with: "reward." of `any_reward`. Of any other name the name itself.
constexpr std::string_view prefix_of(std::string_view family) {
  return family.substr(0, family.find('<'));
}

/// `reward.<name>`
inline typed_column<float, std::string> reward_of(std::string_view name) {
  return {std::string(prefix_of(any_reward.name)).append(name)};
}

/// `origin.<column>`
inline typed_column<std::uint32_t, std::string> origin_of(std::string_view column) {
  return {std::string(prefix_of(any_origin.name)).append(column)};
}

/// The names, for lists of them.
template <column_key... Columns>
std::vector<std::string> names(const Columns&... columns) {
  return {std::string(columns.name)...};
}

} // namespace column
} // namespace millrace
