#include "runtime/rules/outside_question.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/written_numbers.hpp"
#include "runtime/words/enum_words.hpp"
#include "runtime/words/input_error.hpp"

#include <cmath>

namespace millrace::rules {
namespace {

using nlohmann::json;
using workers::worker_failure;

constexpr int most_depth = 64; ///< what other code walks through recursively

json messages_of(const row_context* row) {
  json turns = json::array();
  if (row)
    for (const chat_turn& turn : row->prompt)
      turns.push_back({{"role", turn.role}, {"content", turn.content}});
  return turns;
}

} // namespace

worker_failure malformed(const std::string& found) {
  return {failure_kind::malformed, found};
}

json call_of(const rule_input& input, question_form form, const std::string& prompts) {
  json call{{"data_source", input.row ? input.row->data_source : ""},
            {"prompt", messages_of(input.row)},
            {"completion", std::string(input.text)},
            {"ground_truth", std::string(input.answer)},
            {"extra_info", nullptr}};
  const auto take = [&](const char* name, const std::string& written) {
    if (auto value = formats::json_or_discarded(
            written, {.numbers = formats::json_numbers::as_written, .keys = formats::json_keys::last_counts});
        !value.is_discarded())
      call[name] = std::move(value);
  };
  if (input.row) {
    take("extra_info", input.row->extra_info);
    take("ground_truth", input.row->ground_truth);
  }
  if (form == question_form::row) {
    call["finish_reason"] = input.truncated ? "length" : "stop";
  } else {
    call["completion_ids"] = input.completion_ids;
    call["chat"] = prompts == "messages" || (prompts == "auto" && call["prompt"].size() > 1);
  }
  return call;
}

std::string text_of(const json& message) {
  return formats::written_text(message);
}

json reply_in(const std::string& text) {
  try {
    return formats::parse_json(text, "", {.depth = most_depth, .keys = formats::json_keys::last_counts});
  } catch (const formats::json_too_deep&) {
    throw malformed("a reply of more than " + std::to_string(most_depth) + " levels");
  } catch (const input_error&) {
    return json::value_t::discarded;
  }
}

std::string short_line(const json& found) {
  std::string line = found.is_string()   ? found.get<std::string>()
                     : found.is_number() ? found.dump()
                                         : found.type_name();
  for (char& c : line)
    if (static_cast<unsigned char>(c) < ' ')
      c = ' ';
  return line.substr(0, 300);
}

double number_in(const json& value, const std::string& what, const char* wanted) {
  if (!value.is_number() || !std::isfinite(value.get<double>()))
    throw malformed(what + ": found " + short_line(value).substr(0, 60) + ", want " + wanted);
  return value.get<double>();
}

score score_in(const json& result) {
  if (!result.is_object())
    throw malformed("a result that is no JSON object");
  if (const auto failure = result.find("failure"); failure != result.end() && failure->is_string())
    return score::error(
        short_line(result.value("reason", json(""))),
        value_of<failure_kind>(failure->get_ref<const std::string&>()).value_or(failure_kind::malformed));
  const auto value = result.find("score");
  if (value == result.end())
    throw malformed("a result without \"score\"");
  if (value->is_null())
    return score::not_applicable();
  auto found = score::of(number_in(*value, "score", "a number or null"));
  if (const auto metrics = result.find("metrics"); metrics != result.end() && metrics->is_object())
    for (const auto& [name, number] : metrics->items())
      if (number.is_number() && std::isfinite(number.get<double>()))
        found.metrics.emplace(name, number.get<double>());
  return found;
}

std::vector<score> scores_in(const json& results, std::size_t count) {
  if (!results.is_array() || results.size() != count)
    throw malformed("want a list of " + std::to_string(count) + " results, found "
                    + (results.is_array() ? "one of " + std::to_string(results.size()) : results.type_name()));
  std::vector<score> scores;
  for (const json& result : results)
    try {
      scores.push_back(score_in(result));
    } catch (const worker_failure& failure) {
      scores.push_back(score::error(failure.what(), failure.kind));
    }
  return scores;
}

} // namespace millrace::rules
