#include "tools/given_answers.hpp"

#include "runtime/data/parse_row.hpp"
#include "runtime/data/system_turn.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/written_numbers.hpp"
#include "runtime/roles/row_options.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/text_models.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace millrace::tools {
namespace {

using nlohmann::json;

/// The rule types count what the row says of tokens, or hand it to people's own code.
bool counts_tokens(const scoring_role& scorer) {
  return std::any_of(scorer.rules.begin(), scorer.rules.end(), [](const pipeline::rule_entry& rule) {
    const auto said = [&](const char* option, const char* word) {
      const auto found = rule.options.find(option);
      return found != rule.options.end() && found->second == option_value(std::string(word));
    };
    return said("unit", "tokens") || said("style", "trl");
  });
}

/// The table that says how the rows behind this role's answers are read: the first source's, or the evaluation's.
template <class Take>
void with_row_table(const scoring_role& scorer, Take take) {
  if (const auto* evaluation = std::get_if<pipeline::evaluation_table>(&scorer.role->options))
    return take(*evaluation);
  for (const auto* source : scorer.in->of<pipeline::source_table>())
    if (const auto reached = scorer.in->behind(source->name);
        std::find(reached.begin(), reached.end(), scorer.role) != reached.end())
      return pipeline::each_rows(std::get<pipeline::source_table>(source->options), source->name,
                                 [&, first = true](const auto& rows, const std::string&) mutable {
                                   if (std::exchange(first, false))
                                     take(rows);
                                 });
}

/// The assistant's messages as one text.
std::string completion_of(const json& row) {
  const auto found = row.find("completion");
  if (found == row.end() || found->is_null())
    throw input_error("no completion, want the answer's text under \"completion\"");
  if (found->is_string())
    return found->get<std::string>();
  std::string text;
  for (const json& turn : found->is_array() && !found->empty() ? *found : json::array({nullptr})) {
    const auto content = turn.is_object() ? turn.find("content") : turn.end();
    if (!turn.is_object() || content == turn.end() || !content->is_string())
      throw input_error("completion: found " + formats::written_type(*found)
                        + ", want text, or a list of messages {role, content}");
    text += content->get_ref<const std::string&>();
  }
  return text;
}

/// A column that the data set calls otherwise, where the row calls it so too.
data::column_names columns_in(const json& row, data::column_names columns) {
  std::erase_if(columns, [&](const auto& column) {
    const auto& [ours, theirs] = column;
    return !row.contains(theirs) && !row.contains(theirs.substr(0, theirs.find('.'))) && row.contains(ours);
  });
  return columns;
}

/// What the row says of its length. @returns whether it says anything
bool take_tokens(const json& row, rules::verifier_row& into) {
  const auto found = row.find("tokens");
  if (found == row.end() || found->is_null())
    return false;
  const auto is_count = [](const json& n) { return n.is_number_integer() && n >= 0 && n <= (1 << 30); };
  if (is_count(*found)) {
    into.tokens = found->get<std::int64_t>();
    return true;
  }
  if (!found->is_array() || !std::all_of(found->begin(), found->end(), is_count))
    throw input_error("tokens: found " + formats::written_type(*found) + ", want a number of tokens, or their ids");
  into.completion_ids = found->get<std::vector<std::int32_t>>();
  into.tokens = static_cast<std::int64_t>(into.completion_ids.size());
  return true;
}

} // namespace

given_answers::given_answers(const scoring_role& scorer) : counts_(counts_tokens(scorer)) {
  with_row_table(scorer, [this](const auto& table) {
    columns_ = roles::row_options(table).columns;
    system_ = table.system;
  });
  std::erase_if(columns_, [](const auto& column) {
    return column.first != "prompt" && column.first != "answer" && column.first != "data_source"
           && column.first != "extra_info";
  });
  if (counts_)
    words_ = text_model_of(*scorer.in, *scorer.role);
}

rules::verifier_row given_answers::read(std::string_view text) const {
  json row = formats::parse_json(
      text, "", {.numbers = formats::json_numbers::as_written, .keys = formats::json_keys::last_counts});
  if (!row.is_object())
    throw input_error("found " + formats::written_type(row) + ", want a JSON object");
  rules::verifier_row out{.text = completion_of(row), .answer = {}};
  std::string without_text;
  if (out.text.empty() || !row["completion"].is_string()) { // no demonstration, which a row may do without
    row["completion"] = "-";
    text = without_text = formats::written_text(row);
  }
  auto about = data::parse_row(text, columns_in(row, columns_));
  data::add_system(about.prompt, system_);
  out.answer = std::move(about.answer);
  out.row =
      std::make_shared<const rules::row_context>(rules::row_context{.prompt = std::move(about.prompt),
                                                                    .data_source = std::move(about.data_source),
                                                                    .extra_info = std::move(about.extra),
                                                                    .ground_truth = std::move(about.ground_truth)});
  if (const auto cut = row.find("truncated"); cut != row.end() && !cut->is_null()) {
    if (!cut->is_boolean())
      throw input_error("truncated: found " + formats::written_type(*cut) + ", want true or false");
    out.truncated = cut->get<bool>();
  }
  if (!take_tokens(row, out) && counts_) {
    out.completion_ids = words_.tok->encode(out.text);
    out.tokens = static_cast<std::int64_t>(out.completion_ids.size());
  }
  return out;
}

bool same_row(const rules::verifier_row& a, const rules::verifier_row& b) {
  return a.answer == b.answer && *a.row == *b.row;
}

} // namespace millrace::tools
