#pragma once

#include "runtime/rules/rule.hpp"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>
#include <string>

namespace millrace::tests {

/// How a rule's scores compare with those that verl's functions gave.
struct verl_agreement {
  int rows = 0, equal = 0;
  int paid = 0;      ///< answers that verl pays
  std::string first; ///< the first difference
};

/// Scores each row of verl_scores.jsonl with the rule. MILLRACE_VERL_SCORES names another file of the same form, for a
/// longer comparison.
/// @param setting the place of the setting in `scores`, as in SETTINGS of make_verl_score_goldens.py
inline verl_agreement compared_with_verl(const char* rule, const option_values& options, std::size_t setting) {
  const char* const other = std::getenv("MILLRACE_VERL_SCORES");
  std::ifstream lines(other ? other : "tests/golden/verl_scores.jsonl");
  const auto scorer = rules::make_rule(rule, options);
  verl_agreement found;
  for (std::string line; std::getline(lines, line);) {
    const auto row = nlohmann::json::parse(line);
    const auto text = row.at("text").get<std::string>(), answer = row.at("answer").get<std::string>();
    const double want = row.at("scores").at(setting).get<double>();
    const auto got = scorer->evaluate({text, answer, 0, false});
    const bool is_equal = got.status == rules::score_status::value && got.value == want;
    ++found.rows;
    found.equal += is_equal;
    found.paid += want > 0;
    if (!is_equal && found.first.empty())
      found.first = line + ", got " + std::to_string(got.value) + " " + got.reason;
  }
  return found;
}

} // namespace millrace::tests
