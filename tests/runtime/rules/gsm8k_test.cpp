#include "tests/runtime/rules/verl_scores.hpp"

#include <doctest/doctest.h>

namespace gsm8k_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

double gsm8k_score(const option_values& options, std::string_view text, std::string_view answer) {
  const score s = make_rule("gsm8k", options)->evaluate({text, answer, 0, false});
  REQUIRE(s.status == score_status::value);
  return s.value;
}

} // namespace

TEST_CASE("gsm8k: the number behind the last #### counts, without its commas") {
  CHECK(gsm8k_score({}, "18 - 6 = 12\n#### 12", "12") == 1);
  CHECK(gsm8k_score({}, "#### 12 no, #### 1,200", "1200") == 1);
  CHECK(gsm8k_score({}, "the answer is 12", "12") == 0);
  CHECK(gsm8k_score({}, "#### $12", "12") == 0);
}

TEST_CASE("gsm8k: a wrong number gets the format's score, and only the last 300 characters are read") {
  const option_values paid{{"format_score", 0.1}, {"score", 2.0}};
  CHECK(gsm8k_score(paid, "#### 11", "12") == 0.1);
  CHECK(gsm8k_score(paid, "#### 12", "12") == 2);
  CHECK(gsm8k_score(paid, "12", "12") == 0);
  CHECK(gsm8k_score({}, "#### 12" + std::string(293, ' '), "12") == 1);
  CHECK(gsm8k_score({}, "#### 12" + std::string(294, ' '), "12") == 0);
}

TEST_CASE("gsm8k: the flexible method takes the last number as it is written") {
  CHECK(gsm8k_score({{"method", "flexible"}}, "It is 12 .", "12") == 1);
  CHECK(gsm8k_score({{"method", "flexible"}}, "It is 12.", "12") == 0);
  CHECK(make_rule("gsm8k", {{"method", "flexible"}})->statement({"It is 12 .", "", 0, false}) == "12");
}

TEST_CASE("gsm8k: a row without an answer cannot be scored") {
  CHECK(make_rule("gsm8k", {})->evaluate({"#### 1", "", 0, false}).status == score_status::invalid);
}

TEST_CASE("gsm8k: every score is the one that verl's function gives") {
  const std::pair<option_values, std::size_t> settings[] = {
      {{}, 0}, {{{"method", "flexible"}}, 1}, {{{"method", "strict"}, {"format_score", 0.25}, {"score", 2.0}}, 2}};
  for (const auto& [options, place] : settings) {
    const auto found = tests::compared_with_verl("gsm8k", options, place);
    CHECK(found.rows >= 3000);
    CHECK(found.equal == found.rows);
    CHECK(found.paid > 150);
    CHECK(found.first == "");
  }
}

} // namespace gsm8k_test
