#include "runtime/rules/rule.hpp"

#include <doctest/doctest.h>

namespace exact_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

double exact_score(const option_values& options, std::string_view text, std::string_view answer) {
  const score s = make_rule("exact", options)->evaluate({text, answer, 0, false});
  REQUIRE(s.status == score_status::value);
  return s.value;
}

} // namespace

TEST_CASE("exact: white space at the ends does not count, white space inside does") {
  CHECK(exact_score({}, "  Paris\n", "Paris") == 1);
  CHECK(exact_score({}, "New  York", "New York") == 0);
  CHECK(exact_score({}, "Paris.", "Paris") == 0);
}

TEST_CASE("exact: white space can be collapsed, removed or kept") {
  CHECK(exact_score({{"whitespace", "collapse"}}, " New \n York", "New York") == 1);
  CHECK(exact_score({{"whitespace", "collapse"}}, "NewYork", "New York") == 0);
  CHECK(exact_score({{"whitespace", "remove"}}, "NewYork", "New York") == 1);
  CHECK(exact_score({{"whitespace", "keep"}}, "Paris ", "Paris") == 0);
}

TEST_CASE("exact: case is ignored on request, also beyond ASCII") {
  CHECK(exact_score({}, "paris", "Paris") == 0);
  CHECK(exact_score({{"ignore_case", true}}, "paris", "PARIS") == 1);
  CHECK(exact_score({{"ignore_case", true}}, "STRASSE", "stra\u00dfe") == 1);
  CHECK(exact_score({{"ignore_case", true}}, "\u0416", "\u0436") == 1);
}

TEST_CASE("exact: a row without an answer cannot be scored; text that is not UTF-8 is merely wrong") {
  CHECK(make_rule("exact", {})->evaluate({"x", "", 0, false}).status == score_status::invalid);
  CHECK(exact_score({{"ignore_case", true}}, "\xff", "x") == 0);
}

} // namespace exact_test
