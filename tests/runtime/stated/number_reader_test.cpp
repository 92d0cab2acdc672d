#include "runtime/stated/number_reader.hpp"

#include <doctest/doctest.h>

#include <string>

namespace number_reader_test {

using namespace millrace::stated;

namespace {

/// The value at the start of `text` and what is left behind it: "0.75| cm".
std::string read(std::string_view text, bool hundredth = false) {
  const auto found = number_at_start(text, hundredth);
  return (found.value      ? found.value->canonical()
          : found.begins() ? "broken"
                           : "nothing")
         + '|' + std::string(text.substr(found.length));
}

} // namespace

TEST_CASE("number_at_start: one value, many forms of a fraction") {
  for (const char* text : {"-0.75",
                           "-3/4",
                           "- 3/4",
                           "-3 / 4",
                           "-(3/4)",
                           "(-3/4)",
                           "-\\frac{3}{4}",
                           "\\frac{-3}{4}",
                           "\\frac{3}{-4}",
                           "-\\frac34",
                           "-\\frac 3 4",
                           "-\\frac{3}4",
                           "-\\frac3{4}",
                           "-\\frac{ 3 }{ 4 }",
                           "{-3/4}",
                           "-\\frac{1.5}{2}",
                           "-\\frac{\\frac{3}{2}}{2}",
                           "3/-4",
                           "-(-(-3/4))",
                           "-6/8",
                           "-75e-2"})
    CHECK_MESSAGE(read(text) == "-0.75|", std::string(text));
}

TEST_CASE("number_at_start: a mixed number is the sum, with its sign before both") {
  for (const char* text : {"2 2/3", "2\\frac{2}{3}", "2 \\frac23", "2 4/6"})
    CHECK_MESSAGE(read(text) == "8/3|", std::string(text));
  CHECK(read("-2\\frac{1}{2}") == "-2.5|");
  for (const char* text : {"4 10/3", "4\\frac{10}{3}", "2 1/0", "2\\frac{-1}{2}", "2 1/2/3", "2 0/3"})
    CHECK_MESSAGE(read(text) == "broken|", std::string(text));
  CHECK(read("2.5 1/2") == "2.5| 1/2");
}

TEST_CASE("number_at_start: powers, and products with a power of ten") {
  for (const char* text : {"3.2*10^5", "3.2 x 10^5", "3.2 * 10^{5}", "3.2e5", "32*10^{ 4 }", "320 thousand"})
    CHECK_MESSAGE(read(text) == "320000|", std::string(text));
  CHECK(read("2^{10}") == "1024|");
  CHECK(read("(-2)^3") == "-8|");
  CHECK(read("-2^2") == "-4|");
  CHECK(read("5*10^{-3}") == "0.005|");
  CHECK(read("5*10^-3 m") == "0.005| m");
  CHECK(read("5^{th}") == "5|");
  CHECK(read("2 million") == "2000000|");
  CHECK(read("2 * 10") == "2| * 10");
  CHECK(read("2 x 4") == "2| x 4");
  for (const char* text : {"2^n", "2^{1/2}", "2^{n}", "2^3^2"})
    CHECK_MESSAGE(read(text).starts_with("broken|"), std::string(text));
}

TEST_CASE("number_at_start: percent is a unit or a hundredth") {
  for (const char* text : {"50%", "50 %", "50 percent"}) {
    CHECK(read(text) == "50|");
    CHECK(read(text, true) == "0.5|");
  }
}

TEST_CASE("number_at_start: a number that is part of something else has a length, no value") {
  for (const char* text : {"3x", "3/x", "1/2/3", "1.2.3", "12ab", "2pi", "3 squared", "5k", "1/0", "\\frac{x}{2}",
                           "\\frac{1}{0}", "0x1F", "2 dozen", "3i"}) {
    CHECK_MESSAGE(number_at_start(text, false).begins(), std::string(text));
    CHECK_MESSAGE(!number_at_start(text, false).value, std::string(text));
  }
  CHECK(read("5e") == "5|e");
  CHECK(read("12cm") == "12|cm");
  CHECK(read("60 km/h") == "60| km/h");
  CHECK(read("5/day") == "5|/day");
  CHECK(read("3rd") == "3|rd");
}

TEST_CASE("number_at_start: no number begins where none does") {
  for (const char* text : {"", "x", "--1", "-", "()", "(3x)", "(1, 2)", "{", "(((((((((((((5)))))))))))))", "*5"})
    CHECK_MESSAGE(!number_at_start(text, false).begins(), std::string(text));
}

} // namespace number_reader_test
