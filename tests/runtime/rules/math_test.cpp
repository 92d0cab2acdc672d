#include "runtime/rules/rule.hpp"

#include <doctest/doctest.h>

namespace math_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

double math_score(const option_values& options, std::string_view text, std::string_view answer) {
  const score s = make_rule("math", options)->evaluate({text, answer, 0, false});
  REQUIRE(s.status == score_status::value);
  return s.value;
}

} // namespace

TEST_CASE("math: an answer in another spelling is right, another answer is wrong") {
  CHECK(math_score({}, "So \\boxed{\\dfrac{1}{2}}.", "0.5") == 1);
  CHECK(math_score({}, "So \\boxed{(x+1)^2}.", "$x^2+2x+1$") == 1);
  CHECK(math_score({}, "#### 1,200", "1200") == 1);
  CHECK(math_score({}, "So \\boxed{\\dfrac{1}{3}}.", "0.33") == 0);
  CHECK(math_score({}, "", "5") == 0);
}

TEST_CASE("math: the row's answer may itself be a solution with a box or ####") {
  CHECK(math_score({}, "\\boxed{7}", "3 + 4 = 7, so \\boxed{7}") == 1);
  CHECK(math_score({}, "\\boxed{7}", "3 + 4 = 7\n#### 7") == 1);
}

TEST_CASE("math: extract says where the answer is looked for") {
  CHECK(math_score({{"extract", "boxed"}}, "#### 7", "7") == 0);
  CHECK(math_score({{"extract", "hash"}}, "#### 7", "7") == 1);
  CHECK(math_score({{"extract", "whole"}}, " 14/2 ", "7") == 1);
}

TEST_CASE("math: a row without an answer cannot be scored, nor one with an empty box") {
  CHECK(make_rule("math", {})->evaluate({"\\boxed{1}", "", 0, false}).status == score_status::invalid);
  CHECK(make_rule("math", {})->evaluate({"\\boxed{1}", "\\boxed{}", 0, false}).status == score_status::invalid);
}

} // namespace math_test
