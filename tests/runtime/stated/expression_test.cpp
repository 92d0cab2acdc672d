#include "runtime/stated/expression.hpp"

#include <doctest/doctest.h>

#include <string>

namespace expression_test {

using namespace millrace::stated;

namespace {

bool same(std::string_view left, std::string_view right) {
  const auto a = expression::read(left), b = expression::read(right);
  REQUIRE_MESSAGE(a.has_value(), left);
  REQUIRE_MESSAGE(b.has_value(), right);
  return is_equal(*a, *b);
}

std::string exactly(std::string_view text) {
  const auto read = expression::read(text);
  const auto value = read ? read->exact() : std::nullopt;
  return value ? value->canonical() : "none";
}

} // namespace

TEST_CASE("Rational formulas are computed without rounding") {
  CHECK(exactly("1/3 + 1/6") == "0.5");
  CHECK(exactly("2\\frac{1}{2}") == "2.5");
  CHECK(exactly("-2^2") == "-4");
  CHECK(exactly("2^{-3}*8") == "1");
  CHECK(exactly("0.\\overline{3}*3") == "1");
  CHECK(exactly("1,234+1") == "1235");
  CHECK(exactly("1/0") == "none");
  CHECK(exactly("x+1") == "none");
}

TEST_CASE("Formulas with names are the same where their values are, at every point") {
  CHECK(same("(x+1)^2", "x^2+2x+1"));
  CHECK(same("\\sin^2 x+\\cos^2 x", "1"));
  CHECK(same("\\sqrt{x^2}", "|x|"));
  CHECK(same("\\ln x^2", "2\\ln x"));
  CHECK_FALSE(same("\\sqrt{x^2}", "x"));
  CHECK_FALSE(same("x+y", "x-y"));
  CHECK_FALSE(same("x", "y"));
  CHECK_FALSE(same("3.14159", "\\pi"));
}

TEST_CASE("Roots, logarithms, factorials, binomials and complex numbers have their values") {
  CHECK(same("\\sqrt{8}", "2\\sqrt2"));
  CHECK(same("\\sqrt[3]{-8}", "-2"));
  CHECK(same("\\log_2 8", "3"));
  CHECK(same("5!", "120"));
  CHECK(same("\\binom{5}{2}", "10"));
  CHECK(same("(1+i)^2", "2i"));
  CHECK(same("\\sqrt{-4}", "2i"));
  CHECK(same("e^{i\\pi}", "-1"));
}

TEST_CASE("Relations are the same up to a factor; that of an inequality is positive") {
  const auto at = [](std::string_view text) { return *expression::read(text); };
  CHECK(is_same_relation(at("y"), at("2x+1"), at("2y-2"), at("4x"), false));
  CHECK(is_same_relation(at("x"), at("5"), at("5"), at("x"), false));
  CHECK_FALSE(is_same_relation(at("x"), at("5"), at("5"), at("x"), true));
  CHECK_FALSE(is_same_relation(at("x"), at("5"), at("y"), at("5"), false));
}

TEST_CASE("A text that is no formula, or one that is too long, deep or large, is none") {
  for (const char* text : {"", "Monday", "1+", "(1", "1)", "\\foo", "x_", "--+1", "\\frac{1}", "1..2", "1 = 2"})
    CHECK_FALSE(expression::read(text).has_value());
  CHECK(expression::read(std::string(20, '(') + "1" + std::string(20, ')')).has_value());
  CHECK_FALSE(expression::read(std::string(100, '(') + "1" + std::string(100, ')')).has_value());
  CHECK_FALSE(expression::read(std::string(1025, '1')).has_value());
  std::string many = "x";
  for (int i = 0; i < 300; ++i)
    many += "+x";
  CHECK_FALSE(expression::read(many).has_value());
}

} // namespace expression_test
