#include "runtime/stated/last_number.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

namespace last_number_test {

using namespace millrace::stated;

namespace {

std::string last(std::string_view text) {
  const auto found = last_number(text, false);
  return found ? found->canonical() : "none";
}

} // namespace

TEST_CASE("last_number: the last in a sentence") {
  CHECK(last("between 3 and 12.") == "12");
  CHECK(last("(1,234)") == "1234");
  CHECK(last("1, 2") == "2");
  CHECK(last("12,34") == "34");
  CHECK(last("costs  3") == "3");
  CHECK(last("3/4 of it") == "0.75");
  CHECK(last("x = \\frac{1}{4}") == "0.25");
  CHECK(last("x2=5") == "5");
  CHECK(last("version v2.5") == "2.5");
  CHECK(last("the ratio is 3:4") == "4");
  CHECK(last("no digits, only -%./") == "none");
}

TEST_CASE("last_number: a sign belongs to its number, not the sign of a difference or a list") {
  CHECK(last("= -5") == "-5");
  CHECK(last("x = - 5") == "-5");
  CHECK(last("Answer: - 5") == "-5");
  CHECK(last("It is - 5") == "-5");
  CHECK(last("- 5") == "-5");
  CHECK(last("x =\n- 5") == "-5");
  CHECK(last("7-5") == "5");
  CHECK(last("7 - 5") == "5");
  CHECK(last("x - 5") == "5");
  CHECK(last("F-16") == "16");
  CHECK(last("Here:\n- 3\n- 5") == "5");
  CHECK(last("-7 degrees") == "-7");
  CHECK(last("-(-7)") == "7");
  CHECK(last("negative 7") == "-7");
  CHECK(last("It is minus 7") == "-7");
  CHECK(last("12 minus 7") == "7");
}

TEST_CASE("last_number: powers, indices and the arguments of commands are no numbers") {
  CHECK(last("The area is 12 cm^2.") == "12");
  CHECK(last("12 m^{2}") == "12");
  CHECK(last("12 m2.") == "12");
  CHECK(last("5 for x_1") == "5");
  CHECK(last("5 \\tag{1}") == "5");
  CHECK(last("x^2 = 9, so 9") == "9");
}

TEST_CASE("last_number: an expression at the end leaves no number") {
  for (const char* text : {"3x", "2\\pi", "4 \\sqrt{2}", "\\sqrt 2", "\\sqrt[3]{2}", "\\frac{\\pi}{4}", "x/2",
                           "(a+b)/2", "1/2/3", "sqrt(2)", "\\log_2 8", "\u221A2", "2\u03C0", "\u03C0/4", "0x1F", "2^n"})
    CHECK_MESSAGE(last("Given 7 it is " + std::string(text)) == "none", std::string(text));
  CHECK(last("\\sqrt{16} = 4") == "4");
  CHECK(last("(3+5)/2 = 4") == "4");
}

TEST_CASE("last_number: a long text of anything takes no long time") {
  const auto start = std::chrono::steady_clock::now();
  for (const std::string part :
       {"9",    "1/",  "(",  "{",  "\\frac",  "\\frac{", "\\frac1",   "-",          "- ",  "1,",
        "1 2/", "^",   "^{", "_{", "\\sqrt{", "9^9999 ", "9e9999/7 ", "1 million ", "x",   "\\a",
        "\\a{", "1.2", " ",  "\n", "3^(",     "0.(",     "m2 1",      "\u03C0",     "(1)/"}) {
    std::string text;
    while (text.size() < (1U << 18U))
      text += part;
    CHECK_MESSAGE(last(text + "\nso it is 5 cats") == "5", std::string(part));
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(60)); // sanitizers are slow; quadratic is hours
}

} // namespace last_number_test
