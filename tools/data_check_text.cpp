#include "runtime/formats/quoted.hpp"
#include "runtime/formats/strict_json.hpp"
#include "tools/data_check.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <utility>

namespace millrace::tools {
namespace {

constexpr std::size_t most_ids = 64; ///< of a prompt, for people
constexpr std::size_t most_a_line = 4096;

constexpr std::array<std::pair<const char*, double>, 5> length_shares{
    {{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"longest", 1}}};

std::string score_in_words(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

std::string ids_in_words(const std::vector<std::int32_t>& ids) {
  std::string text;
  for (std::size_t i = 0; i < ids.size() && i < most_ids; ++i)
    text += (i ? " " : "") + std::to_string(ids[i]);
  return ids.size() > most_ids ? text + " and " + std::to_string(ids.size() - most_ids) + " more" : text;
}

/// A text of several lines, each behind a margin.
std::string with_margin(const std::string& text) {
  std::string out = "    | ";
  for (const char c : text)
    out += c == '\n' ? "\n    | " : std::string(1, c);
  return out + '\n';
}

/// "70 as written, 3 behind ####"
std::string forms_in_words(const gold_scores::tally& answers) {
  std::string text;
  for (std::size_t form = 0; form < answer_forms.size(); ++form)
    if (answers.by_form[form] > 0)
      text += (text.empty() ? "" : ", ") + std::to_string(answers.by_form[form]) + ' ' + answer_forms[form];
  return text;
}

std::string examples_in_words(const gold_scores::tally& answers) {
  std::string text;
  for (const auto& example : answers.examples)
    text += "    " + example + '\n';
  return text;
}

std::string gold_in_words(const gold_scores& gold) {
  const std::string rule = "rule " + gold.rule + " of " + gold.role;
  if (!gold.compares)
    return rule + ": does not look at the expected answer\n";
  const auto all = gold.rows(), full = gold.full_rows();
  if (all == 0)
    return rule + ": no row has an expected answer that it looks at\n";
  const auto marks = "full marks (" + score_in_words(gold.full_marks()) + ')';
  std::string text;
  if (full > 0)
    text = rule + ": gives " + std::to_string(full) + " of " + std::to_string(all) + " expected answers " + marks + ": "
           + forms_in_words(gold.by_score.at(gold.full_marks())) + '\n';
  if (full == all)
    return text;
  text += "warning: " + rule + ": does not give " + std::to_string(all - full) + " of " + std::to_string(all)
          + " expected answers " + marks + '\n';
  for (const auto& [score, answers] : gold.by_score)
    if (score < gold.full_marks())
      text += "  " + std::to_string(answers.rows) + " score " + score_in_words(score) + " (" + forms_in_words(answers)
              + ")\n" + examples_in_words(answers);
  for (const auto& [kind, answers] : gold.failures)
    text += "  " + std::to_string(answers.rows) + " have no score, " + kind + '\n' + examples_in_words(answers);
  return text;
}

nlohmann::json gold_in_json(const gold_scores& gold) {
  nlohmann::json scores = nlohmann::json::array(), failures = nlohmann::json::object();
  for (const auto& [score, answers] : gold.by_score) {
    nlohmann::json forms = nlohmann::json::object();
    for (std::size_t form = 0; form < answer_forms.size(); ++form)
      if (answers.by_form[form] > 0)
        forms[answer_forms[form]] = answers.by_form[form];
    scores.push_back({{"score", score}, {"rows", answers.rows}, {"forms", forms}, {"examples", answers.examples}});
  }
  for (const auto& [kind, answers] : gold.failures)
    failures[kind] = {{"rows", answers.rows}, {"examples", answers.examples}};
  return {{"role", gold.role},
          {"rule", gold.rule},
          {"compares", gold.compares},
          {"rows", gold.rows()},
          {"full_rows", gold.full_rows()},
          {"full_marks", gold.full_marks()},
          {"scores", scores},
          {"failures", failures}};
}

} // namespace

std::string in_words(const checked_data& data) {
  std::string text = "data of " + data.name + " (" + data.from + "): ";
  text += data.made_up ? "a sample of " + std::to_string(data.rows) + " rows, as many as one likes can be made up"
                       : std::to_string(data.rows) + " rows";
  text += ", " + std::to_string(data.used) + " of them used\n";
  for (const auto& skipped : data.skipped)
    text += std::to_string(skipped.rows) + " skipped, e.g. " + skipped.example + '\n';
  if (!data.lengths.empty()) {
    text += "tokens of a prompt: shortest " + std::to_string(data.lengths.begin()->first);
    for (const auto& [name, share] : length_shares)
      text += ", " + std::string(name) + ' ' + std::to_string(length_at(data, share));
    text += '\n';
  }
  for (const auto& prompt : data.prompts)
    text += "prompt " + prompt.where + ", " + std::to_string(prompt.tokens.size())
            + " tokens: " + ids_in_words(prompt.tokens) + '\n' + with_margin(prompt.text);
  for (const auto& gold : data.gold)
    text += gold_in_words(gold);
  if (!data.failed.empty())
    text += "warning: " + data.failed + '\n';
  return formats::printable_lines(text, most_a_line);
}

std::string in_json(const checked_data& data) {
  nlohmann::json line{{"source", data.name},
                      {"from", data.from},
                      {"made_up", data.made_up},
                      {"rows", data.rows},
                      {"used", data.used},
                      {"skipped", nlohmann::json::array()},
                      {"prompt_tokens", nlohmann::json::object()},
                      {"prompts", nlohmann::json::array()},
                      {"rules", nlohmann::json::array()}};
  for (const auto& skipped : data.skipped)
    line["skipped"].push_back({{"rows", skipped.rows}, {"example", skipped.example}});
  if (!data.lengths.empty()) {
    line["prompt_tokens"]["shortest"] = data.lengths.begin()->first;
    for (const auto& [name, share] : length_shares)
      line["prompt_tokens"][name] = length_at(data, share);
  }
  for (const auto& prompt : data.prompts)
    line["prompts"].push_back({{"row", prompt.where}, {"tokens", prompt.tokens}, {"text", prompt.text}});
  for (const auto& gold : data.gold)
    line["rules"].push_back(gold_in_json(gold));
  if (!data.failed.empty())
    line["failed"] = data.failed;
  return formats::json_line(line);
}

} // namespace millrace::tools
