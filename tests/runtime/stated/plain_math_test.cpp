#include "runtime/stated/plain_math.hpp"

#include <doctest/doctest.h>

#include <string>

namespace plain_math_test {

using millrace::stated::plain_math;

TEST_CASE("plain_math: digits, signs and spaces of any script have one spelling") {
  CHECK(plain_math("\uFF11\uFF12") == "12");
  CHECK(plain_math("\u0661\u0662\u066B\u0665") == "12.5");
  CHECK(plain_math("\u0967\u0968") == "12"); // Devanagari
  CHECK(plain_math("\U0001D7D2\U0001D7D0") == "42");
  for (const char* minus : {"\u2212", "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\uFF0D", "\uFE63"})
    CHECK(plain_math(std::string(minus) + "5") == "-5");
  CHECK(plain_math("\u00AD-\u200B5") == "-5"); // a soft hyphen and a space of no width
  CHECK(plain_math("1\u00A0234\u202F567\u2009890") == "1 234 567 890");
  CHECK(plain_math("10\u207B\u2075 m\u00B2 x\u2081") == "10^{-5} m^{2} x_{1}");
  CHECK(plain_math("\u00BD") == "1/2 ");
  CHECK(plain_math("2\u00BD") == "2 1/2 ");
  CHECK(plain_math("3\u00D74\u00F72") == "3*4/2");
  CHECK(plain_math("20\u2103") == "20\u00B0C");
  CHECK(plain_math("5\u20AC") == "5 ");
}

TEST_CASE("plain_math: LaTeX's spaces, fonts and spellings are read as they look") {
  CHECK(plain_math("1\\,234\\;567\\ 890") == "1 234 567 890");
  CHECK(plain_math("1{,}234") == "1,234");
  CHECK(plain_math("1,\\!234") == "1,234");
  CHECK(plain_math("3{,}14") == "3.14");
  CHECK(plain_math("12\\text{ cm}^2") == "12  cm^2");
  CHECK(plain_math("\\mathbf{12}") == " 12 ");
  CHECK(plain_math("\\dfrac{3}{4}") == "\\frac{3}{4}");
  CHECK(plain_math("90^\\circ") == "90\u00B0");
  CHECK(plain_math("90^{\\circ}") == "90\u00B0");
  CHECK(plain_math("{}-5") == "-5");
  CHECK(plain_math("-$5") == "-5");
  CHECK(plain_math("a\\hspace{2pt}b") == "a b");
  CHECK(plain_math("\\textcolor{red}{42}") == " 42 ");
  CHECK(plain_math("\\left(3\\right)") == "(3)");
  CHECK(plain_math("3\\times10^5") == "3*10^5");
  CHECK(plain_math("\\fbox{42}") == "\\boxed{42}");
  CHECK(plain_math("12\\ldots") == "12...");
}

TEST_CASE("plain_math: what it does not know stays") {
  CHECK(plain_math("2\\pi \\sqrt{2} \\{5\\} x_1 a<b") == "2\\pi \\sqrt{2} \\{5\\} x_1 a<b");
  CHECK(plain_math("") == "");
  CHECK(plain_math("\\") == "");
  CHECK(plain_math("\xFF"
                   "5")
        == "5");
}

TEST_CASE("plain_math: Markdown's marks go, a power and a product stay") {
  CHECK(plain_math("**73**") == "73");
  CHECK(plain_math("*73*") == "73");
  CHECK(plain_math("__73__") == "73");
  CHECK(plain_math("`73`") == "73");
  CHECK(plain_math("10**5") == "10^5");
  CHECK(plain_math("3*4") == "3*4");
  CHECK(plain_math("3 * 10") == "3 * 10");
  CHECK(plain_math("1_000") == "1_000");
}

} // namespace plain_math_test
