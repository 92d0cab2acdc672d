#include "runtime/rules/rule.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

namespace format_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

score format_score(const option_values& options, std::string_view text) {
  return make_rule("format", options)->evaluate({text, "", 0, false});
}

} // namespace

TEST_CASE("format: the whole text must match, white space at its ends aside") {
  const option_values digits{{"pattern", "\\d+"}};
  CHECK(format_score(digits, " 59\n").value == 1);
  CHECK(format_score(digits, "It is 59").value == 0);
  CHECK(format_score({{"pattern", "\\d+"}, {"trim", false}}, "59 ").value == 0);
  CHECK(format_score({{"pattern", "a|ab"}}, "ab").value == 1);
}

TEST_CASE("format: a part of the text may match where that is asked") {
  CHECK(format_score({{"pattern", "\\d+"}, {"match", "search"}}, "It is 59").value == 1);
  CHECK(format_score({{"pattern", "^\\d+$"}, {"match", "search"}}, "It is 59").value == 0);
}

TEST_CASE("format: dots, newlines and Unicode") {
  const option_values thought{{"pattern", "(?s)<think>.*</think>.+"}};
  CHECK(format_score(thought, "<think>\na\n</think>\n\nb").value == 1);
  CHECK(format_score(thought, "<think>a</think>").value == 0);
  CHECK(format_score({{"pattern", "."}}, "\u4e2d").value == 1);
  CHECK(format_score({{"pattern", "\\w+"}}, "\u00e9t\u00e9").value == 1);
}

TEST_CASE("format: a pattern that backtracks without end is an error of the row, with a reason") {
  const score s = format_score({{"pattern", "(a+)+"}}, std::string(60, 'a') + "c");
  CHECK(s.status == score_status::error);
  CHECK(s.value == 0);
  CHECK(s.reason == "matching the pattern: match limit exceeded");
}

TEST_CASE("format: text that is not UTF-8 is an error of the row") {
  CHECK(format_score({{"pattern", "a"}}, "\xff").status == score_status::error);
}

TEST_CASE("format: a pattern that does not compile is refused when the rule is made") {
  CHECK_THROWS_WITH_AS(
      make_rule("format", {{"pattern", "(a"}}),
      "rule format: pattern: found \"(a\" (at character 3: missing closing parenthesis), want a regular expression",
      input_error);
}

} // namespace format_test
