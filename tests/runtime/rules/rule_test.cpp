#include "runtime/rules/rule.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

namespace rule_test {

using namespace millrace;
using namespace millrace::rules;

TEST_CASE("rule table: every type is found by its name and says what it and its options do") {
  REQUIRE(rule_types().size() == 14);
  for (const rule_type* type : rule_types()) {
    CHECK(find_rule_type(type->name) == type);
    CHECK_FALSE(type->meaning.empty());
    for (const option& known : type->options) {
      CHECK_FALSE(known.meaning.empty());
      CHECK(known.allowed.low <= known.allowed.high);
    }
  }
  CHECK(find_rule_type("numbers") == nullptr);
}

TEST_CASE("make_rule: each mistake is one line that says what was found and wanted") {
  const auto message = [](std::string_view type, const option_values& options) {
    try {
      make_rule(type, options);
    } catch (const input_error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(message("numbers", {})
        == "rule: found type \"numbers\", want one of exact, number, format, length, gsm8k, http, math, math_dapo, "
           "math_reward, code, program, python, reasoning_gym, environment");
  CHECK(message("number", {{"extrct", "last"}}) == "rule number: found the option \"extrct\", want one it has");
  CHECK(message("number", {{"extract", "first"}})
        == "rule number: extract: found \"first\", want one of \"last\", \"boxed\", \"hash\", \"whole\"");
  CHECK(message("number", {{"extract", true}})
        == "rule number: extract: found true, want one of \"last\", \"boxed\", \"hash\", \"whole\"");
  CHECK(message("format", {}) == "rule format: pattern: found nothing, want text");
  CHECK(message("length", {{"max", std::int64_t{-1}}})
        == "rule length: max: found -1, want an integer >= 0 and <= 1000000000");
  CHECK(message("length", {{"max", 2.5}}) == "rule length: max: found 2.5, want an integer >= 0 and <= 1000000000");
  CHECK(message("exact", {{"ignore_case", std::int64_t{1}}}) == "rule exact: ignore_case: found 1, want true or false");
}

TEST_CASE("a rule's statement is what answers vote with: equal where the meaning is, empty where there is none") {
  const auto said = [](const char* rule, std::string_view text) {
    return make_rule(rule, {})->statement({text, "59", 0, false});
  };
  CHECK(said("number", "so it is 59.0") == said("number", "47 + 12 = 59"));
  CHECK(said("number", "60") != said("number", "59"));
  CHECK(said("number", "no idea").empty());
  CHECK(said("exact", " 59 ") == "59");
  CHECK(make_rule("length", {{"max", std::int64_t{3}}})->statement({"59", "59", 1, false}).empty());
}

} // namespace rule_test
