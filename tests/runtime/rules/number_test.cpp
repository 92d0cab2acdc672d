#include "runtime/rules/rule.hpp"

#include <doctest/doctest.h>

namespace number_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

double number_score(const option_values& options, std::string_view text, std::string_view answer) {
  const score s = make_rule("number", options)->evaluate({text, answer, 0, false});
  REQUIRE(s.status == score_status::value);
  return s.value;
}

} // namespace

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
  CHECK(word.reason == "the row's answer is no number: \"blue\"");
}

} // namespace number_test
