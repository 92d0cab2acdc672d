#include "runtime/watch/groups.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/report/frame.hpp"
#include "runtime/telemetry/printed.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>
#include <utility>

namespace millrace::watch {
namespace {

using json = nlohmann::ordered_json;
using report::escaped;
using report::in_figures;
using telemetry::printed;

/// A range of a number with its colour. Class 0 of a choice has none.
struct shade {
  std::string_view colour, words;
};

/// One way to colour tokens.
struct choice {
  std::string_view id, name;
  char letter; ///< of its classes: "p1"
  std::array<shade, 4> shades;
};

constexpr std::array<choice, 3> choices{{{"by-logprob",
                                          "log-probability",
                                          'p',
                                          {{{"rgba(217,114,46,.16)", "below -0.1"},
                                            {"rgba(217,114,46,.34)", "below -0.7"},
                                            {"rgba(217,114,46,.52)", "below -1.6"},
                                            {"rgba(217,114,46,.75)", "below -3"}}}},
                                         {"by-ratio",
                                          "ratio",
                                          'r',
                                          {{{"rgba(52,150,84,.3)", "above 1.05"},
                                            {"rgba(52,150,84,.65)", "above 1.2"},
                                            {"rgba(210,72,60,.3)", "below 0.95"},
                                            {"rgba(210,72,60,.65)", "below 0.8"}}}},
                                         {"by-version",
                                          "version",
                                          'v',
                                          {{{"rgba(42,120,184,.18)", "1 behind"},
                                            {"rgba(42,120,184,.34)", "2 behind"},
                                            {"rgba(42,120,184,.52)", "3 to 4"},
                                            {"rgba(42,120,184,.75)", "5 and more"}}}}}};

int logprob_shade(double logprob) {
  return logprob < -3 ? 4 : logprob < -1.6 ? 3 : logprob < -0.7 ? 2 : logprob < -0.1 ? 1 : 0;
}

int ratio_shade(double ratio) {
  return ratio < 0.8 ? 4 : ratio < 0.95 ? 3 : ratio > 1.2 ? 2 : ratio > 1.05 ? 1 : 0;
}

int version_shade(std::int64_t behind) {
  return behind > 4 ? 4 : behind > 2 ? 3 : static_cast<int>(std::clamp<std::int64_t>(behind, 0, 2));
}

double number_in(const json& value) {
  return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

/// @param newest the version that was trained
std::string token_html(const std::string& text, double logprob, double policy_logprob, std::int64_t version,
                       std::int64_t newest) {
  const double ratio = std::exp(policy_logprob - logprob);
  const std::array shades{logprob_shade(logprob), ratio_shade(ratio), version_shade(newest - version)};
  std::string classes;
  for (std::size_t i = 0; i < shades.size(); ++i)
    if (shades[i] > 0)
      classes += (classes.empty() ? "" : " ") + std::string(1, choices[i].letter) + std::to_string(shades[i]);
  return "<i" + (classes.empty() ? "" : " class=\"" + classes + "\"") + printed(" title=\"%.2f", logprob)
         + (std::isfinite(ratio) ? printed(", ratio %.3f", ratio) : "") + ", version " + std::to_string(version) + "\">"
         + escaped(text) + "</i>";
}

/// The first characters of a long text, whole ones, escaped.
std::string cut(std::string_view text) {
  constexpr std::size_t most = 6000;
  if (text.size() <= most)
    return escaped(std::string(text));
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
    --end;
  return escaped(std::string(text.substr(0, end))) + printed(" ... (%zu bytes more)", text.size() - end);
}

/// The tokens that are shown, then the rest of the text without colours.
std::string tokens_html(const json& answer, std::int64_t newest) {
  const auto& shown = answer.at("shown");
  const auto& words = shown.at("text");
  const auto text = answer.value("episode", answer.at("text").get<std::string>());
  std::string html;
  std::size_t at = 0; // of `text`, which has no special tokens
  for (std::size_t t = 0; t < words.size(); ++t) {
    const auto word = words[t].get<std::string>();
    html += token_html(word, number_in(shown.at("logprob").at(t)), number_in(shown.at("policy_logprob").at(t)),
                       shown.at("version").at(t).get<std::int64_t>(), newest);
    if (text.compare(at, word.size(), word) == 0)
      at += word.size();
  }
  const bool is_all = answer.at("tokens").get<std::int64_t>() <= static_cast<std::int64_t>(words.size());
  return is_all ? html : html + cut(std::string_view(text).substr(at));
}

std::string answer_html(const json& answer, std::int64_t newest) {
  std::string rewards;
  for (const auto& [rule, reward] : answer.at("rewards").items())
    rewards +=
        " <span>" + escaped(rule) + " " + (reward.is_number() ? in_figures(reward.get<double>()) : "-") + "</span>";
  const auto& reward = answer.at("reward");
  const auto& versions = answer.at("versions");
  return "<div class=\"answer\"><p><b>" + (reward.is_number() ? in_figures(reward.get<double>()) : "-") + "</b>"
         + rewards + "</p><pre>"
         + (answer.contains("shown") ? tokens_html(answer, newest)
                                     : cut(answer.value("episode", answer.at("text").get<std::string>())))
         + "</pre><p>" + std::to_string(answer.at("tokens").get<std::int64_t>()) + " tokens, "
         + escaped(answer.at("finish").get<std::string>()) + ", versions "
         + std::to_string(versions.at(0).get<std::int64_t>()) + " to "
         + std::to_string(versions.at(1).get<std::int64_t>()) + "</p></div>\n";
}

/// Step and group of a row; "" of one that is none.
std::string name_of(const std::string& row) {
  const auto group = formats::json_or_discarded(row);
  return group.is_object() && group.contains("step") && group.contains("group")
             ? group["step"].dump() + " " + group["group"].dump()
             : "";
}

} // namespace

std::string group_in_html(const std::string& row) {
  try {
    constexpr std::size_t most = 32;
    const auto group = formats::parse_json<json>(row, "trajectories");
    const auto step = group.at("step").get<std::int64_t>();
    std::string html =
        "<h3>step " + std::to_string(step) + ", group " + std::to_string(group.at("group").get<std::uint64_t>())
        + "</h3>\n<pre class=\"prompt\">" + cut(group.at("prompt").get<std::string>())
        + "</pre>\n<p>expected: " + cut(group.at("ground_truth").get<std::string>()) + "</p>\n<div class=\"answers\">";
    const auto& answers = group.at("answers");
    for (std::size_t i = 0; i < std::min(answers.size(), most); ++i)
      html += answer_html(answers[i], step - 1);
    html += "</div>\n";
    return answers.size() > most ? html + printed("<p>%zu answers more</p>\n", answers.size() - most) : html;
  } catch (const std::exception& error) { // the file is another program's, or damaged
    return "<p class=\"bad\">A group that cannot be read: " + escaped(error.what()) + "</p>\n";
  }
}

std::string groups_in_html(const run_view& run) {
  std::string html;
  std::set<std::string> told;
  for (const auto& row : run.marked) {
    html += group_in_html(row);
    told.insert(name_of(row));
  }
  for (const auto& row : run.groups)
    if (!told.contains(name_of(row)))
      html += group_in_html(row);
  return html.empty() ? "<p>No group was trained yet.</p>\n" : html;
}

std::string token_chooser() {
  std::string html = "<span>Colour tokens by</span>\n", legends;
  for (const auto& [id, name, letter, shades] : choices) {
    html += "<input class=\"tool\" type=\"radio\" name=\"colour\" id=\"" + std::string(id) + "\""
            + (letter == choices.front().letter ? " checked" : "") + "><label for=\"" + std::string(id) + "\">"
            + std::string(name) + "</label>\n";
    legends += "<p class=\"shades of-" + std::string(id) + "\">";
    for (std::size_t i = 0; i < shades.size(); ++i)
      legends += "<i class=\"" + std::string(1, letter) + std::to_string(i + 1) + "\">" + std::string(shades[i].words)
                 + "</i> ";
    legends += "</p>\n";
  }
  return html + "<input class=\"tool\" type=\"checkbox\" id=\"hold\"><label for=\"hold\">hold still</label>\n"
         + legends;
}

std::string token_style() {
  std::string css = ".shades { display: none; margin: .3rem 0; }\n.shades i, #groups i { font-style: normal; }\n"
                    ".shades i { color: var(--ink); padding: 0 .4em; border-radius: 3px; display: inline-block; }\n"
                    ".tool { position: absolute; opacity: 0; } .tool + label { border: 1px solid var(--line); "
                    "border-radius: 4px; padding: 0 .5em; margin: 0 .3em .3em 0; display: inline-block; }\n"
                    ".tool:checked + label { border-color: var(--ink); font-weight: 600; } "
                    ".tool:focus-visible + label { outline: 2px solid var(--soft); }\n";
  for (const auto& [id, name, letter, shades] : choices) {
    const auto checked = "#" + std::string(id) + ":checked ~ ";
    css += checked + ".of-" + std::string(id) + " { display: block; }\n";
    for (std::size_t i = 0; i < shades.size(); ++i) {
      const auto name_of_shade = "." + std::string(1, letter) + std::to_string(i + 1);
      css += checked + "#groups " + name_of_shade + ", .of-" + std::string(id) + " " + name_of_shade
             + " { background: " + std::string(shades[i].colour) + "; }\n";
    }
  }
  return css;
}

} // namespace millrace::watch
