#include "tests/runtime/rules/verl_scores.hpp"

#include <doctest/doctest.h>

namespace math_reward_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

double math_reward_score(std::string_view text, std::string_view answer) {
  const score s = make_rule("math_reward", {})->evaluate({text, answer, 0, false});
  REQUIRE(s.status == score_status::value);
  return s.value;
}

} // namespace

TEST_CASE("math_reward: spellings of LaTeX are one") {
  CHECK(math_reward_score("\\boxed{\\dfrac12}", "\\frac{1}{2}") == 1);
  CHECK(math_reward_score("\\boxed{1/2}", "0.5") == 1);
  CHECK(math_reward_score("\\boxed{x = 5 \\text{ cm}}", "5") == 1);
  CHECK(math_reward_score("\\boxed{\\sqrt3}", "\\sqrt{3}") == 1);
  CHECK(math_reward_score("$\\boxed 7$", "7") == 1);
}

TEST_CASE("math_reward: only the last box counts, and a text without one is wrong") {
  CHECK(math_reward_score("\\boxed{1} \\boxed{2}", "2") == 1);
  CHECK(math_reward_score("\\boxed{2} \\boxed{1}", "2") == 0);
  CHECK(math_reward_score("2", "2") == 0);
  CHECK(math_reward_score("\\fbox{2}", "2") == 0);
  CHECK(math_reward_score("\\boxed{2", "2") == 0);
}

TEST_CASE("math_reward: where verl's normalising raises, the texts are compared as they are written") {
  CHECK(math_reward_score("\\boxed{\\frac}", "\\frac") == 1);
  CHECK(math_reward_score("\\boxed{ \\frac}", "\\frac") == 0);
}

TEST_CASE("math_reward: a row without an answer cannot be scored") {
  CHECK(make_rule("math_reward", {})->evaluate({"\\boxed{1}", "", 0, false}).status == score_status::invalid);
}

TEST_CASE("math_reward: every score is the one that verl's function gives") {
  const auto found = tests::compared_with_verl("math_reward", {}, 6);
  CHECK(found.rows >= 3000);
  CHECK(found.equal == found.rows);
  CHECK(found.paid > 150);
  CHECK(found.first == "");
}

} // namespace math_reward_test
