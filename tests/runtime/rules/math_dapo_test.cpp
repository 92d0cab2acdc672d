#include "tests/runtime/rules/verl_scores.hpp"

#include <doctest/doctest.h>

namespace math_dapo_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

double math_dapo_score(const option_values& options, std::string_view text, std::string_view answer) {
  const score s = make_rule("math_dapo", options)->evaluate({text, answer, 0, false});
  REQUIRE(s.status == score_status::value);
  return s.value;
}

} // namespace

TEST_CASE("math_dapo: what the last line behind Answer: says is compared after normalising") {
  CHECK(math_dapo_score({}, "Answer: $34$", "34") == 1);
  CHECK(math_dapo_score({}, "answer : x = 1,000 dollars", "1000") == 1);
  CHECK(math_dapo_score({}, "Answer: \\frac12", "\\frac{1}{2}") == 1);
  CHECK(math_dapo_score({}, "Answer: 34\nAnswer: 35", "34") == -1);
  CHECK(math_dapo_score({}, "\\boxed{34}", "34") == -1);
}

TEST_CASE("math_dapo: the strict form compares the last box of the last 100 characters as it is written") {
  const option_values strict{{"strict_box_verify", true}};
  CHECK(math_dapo_score(strict, "\\boxed{34}", "34") == 1);
  CHECK(math_dapo_score(strict, "\\boxed{ 34}", "34") == -1);
  CHECK(math_dapo_score(strict, "\\boxed{34}" + std::string(90, ' '), "34") == 1);
  CHECK(math_dapo_score(strict, "\\boxed{34}" + std::string(91, ' '), "34") == -1);
  const option_values paused{{"strict_box_verify", true}, {"pause_token", std::int64_t{100}}};
  CHECK(math_dapo_score(paused, "\\boxed{34}" + std::string(91, ' '), "34") == 1);
}

TEST_CASE("math_dapo: a row without an answer cannot be scored") {
  CHECK(make_rule("math_dapo", {})->evaluate({"Answer: 1", "", 0, false}).status == score_status::invalid);
}

TEST_CASE("math_dapo: every score is the one that verl's function gives") {
  const std::pair<option_values, std::size_t> settings[] = {
      {{}, 3},
      {{{"strict_box_verify", true}}, 4},
      {{{"strict_box_verify", true}, {"pause_token", std::int64_t{150}}}, 5}};
  for (const auto& [options, place] : settings) {
    const auto found = tests::compared_with_verl("math_dapo", options, place);
    CHECK(found.rows >= 3000);
    CHECK(found.equal == found.rows);
    CHECK(found.paid > 20);
    CHECK(found.first == "");
  }
}

} // namespace math_dapo_test
