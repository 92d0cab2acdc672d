#include "runtime/rules/rule.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <string>
#include <vector>

namespace number_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

double number_score(const option_values& options, std::string_view text, std::string_view answer) {
  const score s = make_rule("number", options)->evaluate({text, answer, 0, false});
  REQUIRE(s.status == score_status::value);
  return s.value;
}

/// What a file of texts came to.
struct text_figures {
  int right = 0, all = 0, paid_wrongly = 0;
  std::string failed; ///< a line each
};

/// Scores each text of a file in each way that its number may be looked for: as its row says, or as the last number,
/// and as the boxed one or behind #### where the text has a box or that mark.
text_figures scored(const std::string& file) {
  text_figures figures;
  std::ifstream lines("tests/golden/numbers/" + file);
  for (std::string line; std::getline(lines, line);) {
    const auto row = nlohmann::json::parse(line);
    const auto text = row.at("text").get<std::string>(), answer = row.at("answer").get<std::string>();
    std::vector<std::string> ways{row.value("extract", "last")};
    if (!row.contains("extract")
        && (text.find("\\boxed") != std::string::npos || text.find("\\fbox") != std::string::npos))
      ways.push_back("boxed");
    if (!row.contains("extract") && text.find("####") != std::string::npos)
      ways.push_back("hash");
    bool right = true;
    for (const auto& way : ways) {
      const auto scorer = make_rule("number", {{"extract", way}, {"percent", row.value("percent", "unit")}});
      const rule_input input{text, answer, 0, false};
      const score s = scorer->evaluate(input);
      CHECK((s.status == score_status::invalid) == !scorer->unreadable(answer).empty());
      if (s.value == row.at("truth").get<double>())
        continue;
      right = false;
      figures.paid_wrongly += s.value == 1;
      figures.failed += row.at("id").get<std::string>() + " (" + row.at("note").get<std::string>() + "), " + way
                        + ": \"" + text.substr(0, 80) + "\" states \"" + scorer->statement(input) + "\", the row \""
                        + answer + "\" " + s.reason + ", want " + row.at("truth").dump() + '\n';
    }
    ++figures.all;
    figures.right += right;
  }
  return figures;
}

} // namespace

TEST_CASE("number: the texts that were reported are read as people mean them, and none is paid wrongly") {
  const auto figures = scored("reported.jsonl");
  CHECK(figures.all == 171);
  CHECK(figures.right == 171);
  CHECK(figures.paid_wrongly == 0);
  CHECK(figures.failed == "");
}

TEST_CASE("number: the texts of a sceptical reader are read as people mean them, and none is paid wrongly") {
  const auto figures = scored("sceptical.jsonl");
  CHECK(figures.all == 305);
  CHECK(figures.right == figures.all);
  CHECK(figures.paid_wrongly == 0);
  CHECK(figures.failed == "");
}

TEST_CASE("number: two texts of one value are one vote") {
  const auto scorer = make_rule("number", {});
  const auto vote = [&](std::string_view text) { return scorer->statement({text, "1", 0, false}); };
  for (const char* text : {"It is 0.5", "\\boxed{\\frac{1}{2}}", "2/4", "$\\frac12$", "so 1/2 cm^2", "50e-2", "\u00BD",
                           "\\boxed{x = 5/10}"})
    CHECK_MESSAGE(vote(text) == "0.5", std::string(text));
  CHECK(vote("\\boxed{1/3}") == vote("It is 2/6"));
  CHECK(vote("\\boxed{1/3}") != vote("\\boxed{0.333}"));
  CHECK(vote("\\boxed{3,4}") == vote("\\boxed{x=3 \\text{ and } y=4}"));
  CHECK(vote("\\boxed{}").empty());
}

TEST_CASE("number: the last number of the text is the answer") {
  CHECK(number_score({}, "47 + 12 = 59.", "59") == 1);
  CHECK(number_score({}, "59 is what 47 plus 12 gives", "59") == 0);
  CHECK(number_score({}, "It costs $1,234.50", "1234.5") == 1);
  CHECK(number_score({}, "no idea", "59") == 0);
  CHECK(number_score({}, "", "59") == 0);
}

TEST_CASE("number: the box is the answer, without the units around it") {
  const option_values boxed{{"extract", "boxed"}};
  CHECK(number_score(boxed, "so \\boxed{59} it is, since 3 < 4", "59") == 1);
  CHECK(number_score(boxed, "\\boxed{1} no, \\boxed{59}", "59") == 1);
  CHECK(number_score(boxed, "\\boxed{\\frac{3}{4}}", "0.75") == 1);
  CHECK(number_score(boxed, "\\boxed{x = 5}", "5") == 1);
  CHECK(number_score(boxed, "\\boxed{5\\text{ m}^2}", "5") == 1);
  CHECK(number_score(boxed, "\\boxed{\\$1{,}234}", "1234") == 1);
  CHECK(number_score(boxed, "\\boxed{59", "59") == 0);
  CHECK(number_score(boxed, "59", "59") == 0);
}

TEST_CASE("number: what follows the last #### is the answer, as in GSM8K") {
  const option_values hash{{"extract", "hash"}};
  CHECK(number_score(hash, "2 + 2 = <<2+2=4>>4\n#### 4", "4") == 1);
  CHECK(number_score(hash, "#### 5\n#### 1,004 apples", "1004") == 1);
  CHECK(number_score(hash, "4", "4") == 0);
}

TEST_CASE("number: the whole text must be the number where that is asked") {
  CHECK(number_score({{"extract", "whole"}}, " 59.\n", "59") == 1);
  CHECK(number_score({{"extract", "whole"}}, "It is 59", "59") == 0);
}

TEST_CASE("number: the row's answer may be a worked solution") {
  CHECK(number_score({}, "18", "She sells 9 eggs for $2.\n#### 18") == 1);
  CHECK(number_score({}, "18", "so the sum is $\\boxed{18}$") == 1);
}

TEST_CASE("number: percent is a unit or a hundredth") {
  CHECK(number_score({}, "50%", "50") == 1);
  CHECK(number_score({}, "50%", "0.5") == 0);
  CHECK(number_score({{"percent", "hundredth"}}, "50%", "0.5") == 1);
  CHECK(number_score({{"percent", "hundredth"}}, "50%", "50") == 0);
}

TEST_CASE("number: a row whose answer is no number cannot be scored") {
  const score none = make_rule("number", {})->evaluate({"5", " ", 0, false});
  CHECK(none.status == score_status::invalid);
  CHECK(none.reason == "the row has no answer");
  const score word = make_rule("number", {})->evaluate({"5", "blue", 0, false});
  CHECK(word.status == score_status::invalid);
  CHECK(word.reason == "the row's answer is no number: 'blue'");
  CHECK(make_rule("number", {})->unreadable("12 cm").empty());
  CHECK(make_rule("number", {})->unreadable("4\n\x1b[31m,\nx")
        == "the row's answer is no number: '4\\x0a\\x1b[31m,\\x0ax'");
}

} // namespace number_test
