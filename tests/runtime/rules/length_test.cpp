#include "runtime/rules/rule.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

namespace length_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

double length_score(const option_values& options, std::int64_t tokens, std::string_view text = "",
                    bool truncated = false) {
  const score s = make_rule("length", options)->evaluate({text, "", tokens, truncated});
  REQUIRE(s.status == score_status::value);
  return s.value;
}

constexpr std::int64_t two = 2, four = 4, three = 3;

} // namespace

TEST_CASE("length: 1 inside the range, ends included, 0 outside") {
  const option_values range{{"min", two}, {"max", four}};
  CHECK(length_score(range, 1) == 0);
  CHECK(length_score(range, 2) == 1);
  CHECK(length_score(range, 4) == 1);
  CHECK(length_score(range, 5) == 0);
}

TEST_CASE("length: outside the range the score falls linearly to 0") {
  const option_values soft{{"min", two}, {"max", four}, {"falloff", three}};
  CHECK(length_score(soft, 5) == doctest::Approx(0.75));
  CHECK(length_score(soft, 7) == doctest::Approx(0.25));
  CHECK(length_score(soft, 8) == 0);
  CHECK(length_score(soft, 800) == 0);
  CHECK(length_score(soft, 0) == doctest::Approx(0.5));
}

TEST_CASE("length: characters are counted, not bytes") {
  const option_values four_characters{{"min", four}, {"max", four}, {"unit", "characters"}};
  CHECK(length_score(four_characters, 99, "\u00e9t\u00e9s") == 1);
  CHECK(length_score(four_characters, 4, "abc") == 0);
}

TEST_CASE("length: an answer that was cut off scores 0 where it must finish") {
  CHECK(length_score({{"max", four}}, 4, "", true) == 1);
  CHECK(length_score({{"max", four}, {"must_finish", true}}, 4, "", true) == 0);
  CHECK(length_score({{"max", four}, {"must_finish", true}}, 4, "", false) == 1);
}

TEST_CASE("length: max below min is refused") {
  CHECK_THROWS_WITH_AS(make_rule("length", {{"min", four}, {"max", two}}),
                       "rule length: max: found 2, want an integer >= min, 4", input_error);
}

} // namespace length_test
