#include "runtime/rules/exact_number.hpp"

#include <doctest/doctest.h>

#include <string>

namespace exact_number_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

bool same(std::string_view a, std::string_view b) {
  const auto x = exact_number::whole(a, false);
  const auto y = exact_number::whole(b, false);
  REQUIRE_MESSAGE(x.has_value(), std::string(a));
  REQUIRE_MESSAGE(y.has_value(), std::string(b));
  CHECK((*x == *y) == (*y == *x));
  return *x == *y;
}

bool is_last(std::string_view text, std::string_view number) {
  const auto last = last_number(text, false);
  return last && *last == *exact_number::whole(number, false);
}

} // namespace

TEST_CASE("exact_number: one value, many spellings") {
  for (const char* spelling : {"1234.5", "1,234.50", "01234.5", "+1234.5", "$1,234.50", "\\$1234.5", "1{,}234.5",
                               "2469/2", "1.2345e3", "12345E-1", "\\frac{2469}{2}", "1234.5%", "1234.5 \\%", "1234.5."})
    CHECK(same(spelling, "1234.5"));
  CHECK(same("-3", "\u22123"));
  CHECK(same("-$3", "$-3"));
  CHECK(same(".5", "1/2"));
  CHECK(same("0", "-0.00"));
  CHECK(same("0", "0/7"));
  CHECK(same("1/3", "2/6"));
  CHECK(same("-\\dfrac{1}{2}", "-0.5"));
}

TEST_CASE("exact_number: no rounding anywhere") {
  CHECK_FALSE(same("1/3", "0.3333333333333333333333333333333333"));
  CHECK_FALSE(same("0.1", "0.1000000000000000055511151231257827"));
  CHECK_FALSE(same("9007199254740993", "9007199254740992"));
  CHECK(same("9007199254740993.000", "9,007,199,254,740,993"));
  CHECK_FALSE(same("1e9999", "1e9998"));
  CHECK(same("1e-9999", "0.1e-9998"));
  CHECK_FALSE(same("5", "-5"));
}

TEST_CASE("exact_number: what is no number as a whole") {
  for (const char* text :
       {"", "abc", "1 2", "1,23", "--1", "1/0", "1/2/3", "$", "%", "-", ".", "5 apples", "\\frac{1}{0}"})
    CHECK_MESSAGE(!exact_number::whole(text, false), text);
  CHECK_FALSE(exact_number::whole(std::string(1001, '7'), false));
  CHECK(exact_number::whole(std::string(1000, '7'), false));
}

TEST_CASE("last_number: the last in a sentence") {
  CHECK(is_last("between 3 and 12.", "12"));
  CHECK(is_last("7-5", "5"));
  CHECK(is_last("= -5", "-5"));
  CHECK(is_last("2 - 5", "5"));
  CHECK(is_last("(1,234)", "1234"));
  CHECK(is_last("1, 2", "2"));
  CHECK(is_last("12,34", "34"));
  CHECK(is_last("costs $ 3", "3"));
  CHECK(is_last("3/4 of it", "0.75"));
  CHECK(is_last("\u22127 degrees", "-7"));
  CHECK(is_last("x = \\frac{1}{4}", "0.25"));
  CHECK_FALSE(last_number("no digits, only -$%./", false));
}

TEST_CASE("last_number: a megabyte of digits or slashes takes no long time") {
  CHECK_FALSE(last_number(std::string(1 << 20, '9'), false));
  std::string slashes;
  for (int i = 0; i < 200'000; ++i)
    slashes += "1/";
  CHECK(is_last(slashes + "x 5", "5"));
}

TEST_CASE("exact_number: the canonical text of one value is one, whatever its spelling") {
  const auto text = [](std::string_view number) { return exact_number::whole(number, false)->canonical(); };
  for (const char* spelling : {"1234.5", "1,234.50", "+01234.5", "$1,234.50", "1.2345e3", "12345E-1"})
    CHECK(text(spelling) == "12345e-1");
  CHECK(text("7") == "7");
  CHECK(text("700") == "7e2");
  CHECK(text("-0.5") == "-5e-1");
  CHECK(text("0.00") == "0");
  CHECK(text("3/4") == "3/4");
}

} // namespace exact_number_test
