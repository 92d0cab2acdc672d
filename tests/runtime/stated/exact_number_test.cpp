#include "runtime/stated/exact_number.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>

namespace exact_number_test {

using namespace millrace;
using namespace millrace::stated;

namespace {

exact_number number(std::string_view digits, std::int64_t exponent = 0) {
  return *exact_number::of_decimal(digits, exponent);
}

exact_number fraction(std::string_view above, std::string_view below) {
  return *number(above).over(number(below));
}

} // namespace

TEST_CASE("exact_number: equal values are equal, whatever they were made of") {
  CHECK(number("00125", -2) == *number("125", -1).times(number("1", -1)));
  CHECK(number("1000") == number("1", 3));
  CHECK(fraction("2", "6") == fraction("1", "3"));
  CHECK(fraction("3", "4") == number("75", -2));
  CHECK(-number("0") == number("0"));
  CHECK(*number("7").plus(-number("7")) == exact_number());
  CHECK(number("1", 9999) != number("1", 9998));
  CHECK(number("9007199254740993") != number("9007199254740992"));
  CHECK(fraction("1", "3") != number("3333333333333333333333333333333333", -34));
}

TEST_CASE("exact_number: the four ways to make one of two, by hand") {
  CHECK(*number("2").plus(fraction("2", "3")) == fraction("8", "3"));
  CHECK(*(-number("2")).plus(number("5", -1)) == -number("15", -1));
  CHECK(*fraction("2", "3").times(fraction("3", "4")) == number("5", -1));
  CHECK(*fraction("2", "3").over(-fraction("4", "9")) == -number("15", -1));
  CHECK_FALSE(number("1").over(number("0")));
  CHECK(*number("2").to_the(number("10")) == number("1024"));
  CHECK(*(-number("2")).to_the(number("3")) == -number("8"));
  CHECK(*number("1", 1).to_the(-number("3")) == number("1", -3));
  CHECK(*fraction("2", "3").to_the(-number("2")) == fraction("9", "4"));
  CHECK(*number("0").to_the(number("5")) == number("0"));
  CHECK_FALSE(number("0").to_the(number("0")));
  CHECK_FALSE(number("0").to_the(-number("1")));
  CHECK_FALSE(number("2").to_the(number("5", -1)));
}

TEST_CASE("exact_number: what would grow without bound is nothing") {
  CHECK_FALSE(number("3").to_the(number("1", 9)));
  CHECK_FALSE(number("3").to_the(number("1", 9999)));
  CHECK_FALSE(number("1", 9999).to_the(number("9999")));
  CHECK(number("1").to_the(number("9999")) == number("1"));
  CHECK(number("2").to_the(number("9999")));
}

TEST_CASE("exact_number: canonical text is that of the value") {
  CHECK(number("12345", -1).canonical() == "1234.5");
  CHECK(number("700").canonical() == "700");
  CHECK(number("7", 2).canonical() == "700");
  CHECK((-number("5", -1)).canonical() == "-0.5");
  CHECK(number("5", -3).canonical() == "0.005");
  CHECK(number("0", 7).canonical() == "0");
  CHECK(fraction("3", "4").canonical() == "0.75");
  CHECK((-fraction("10", "15")).canonical() == "-2/3");
  CHECK(fraction("100", "7").canonical() == "100/7");
  CHECK(fraction("7", "300").canonical() == "7/300");
  CHECK(number("1", 400).canonical() == "1e400");
  CHECK(number("25", -40).canonical() == "25e-40");
}

TEST_CASE("exact_number: random fractions agree with integer arithmetic, in value and in text") {
  std::mt19937 random(1);
  std::uniform_int_distribution<int> any(-60, 60);
  for (int i = 0; i < 20'000; ++i) {
    const int a = any(random), b = any(random), c = any(random), d = any(random);
    if (b == 0 || d == 0)
      continue;
    const auto of = [](int n) {
      const auto size = number(std::to_string(std::abs(n)));
      return n < 0 ? -size : size;
    };
    const auto x = *of(a).over(of(b)), y = *of(c).over(of(d));
    CHECK((x == y) == (a * d == c * b));
    CHECK((x.canonical() == y.canonical()) == (a * d == c * b));
    CHECK(*x.plus(y) == *of(a * d + c * b).over(of(b * d)));
    CHECK(*x.times(y) == *of(a * c).over(of(b * d)));
    CHECK(x.is_proper() == (std::abs(a) < std::abs(b)));
  }
}

} // namespace exact_number_test
