#include "runtime/stated/decimal_reader.hpp"

#include <doctest/doctest.h>

#include <string>

namespace decimal_reader_test {

using namespace millrace::stated;

namespace {

/// The value at the start of `text` and what is left behind it: "1234.5|cm".
std::string read(std::string_view text) {
  const auto found = decimal_at_start(text);
  return (found.value        ? found.value->canonical()
          : found.length > 0 ? "broken"
                             : "nothing")
         + '|' + std::string(text.substr(found.length));
}

} // namespace

TEST_CASE("decimal_at_start: one value, many ways to separate its digits") {
  for (const char* text : {"1234567.5", "1,234,567.5", "1 234 567.5", "1'234'567.5", "1_234_567.5", "1.234.567,5",
                           "12,34,567.5", "01234567.50", "1.2345675e6", "12345675E-1"})
    CHECK_MESSAGE(read(text) == "1234567.5|", std::string(text));
  CHECK(read("1.234,50 EUR") == "1234.5| EUR");
  CHECK(read("1.234.567") == "1234567|");
  CHECK(read(".5") == "0.5|");
  CHECK(read("72.") == "72|.");
}

TEST_CASE("decimal_at_start: a separator counts only between groups of three") {
  CHECK(read("1,23") == "1|,23");
  CHECK(read("1,2345") == "1|,2345");
  CHECK(read("0,123") == "0|,123");
  CHECK(read("1234,567") == "1234|,567");
  CHECK(read("2024 500") == "2024| 500");
  CHECK(read("1, 234") == "1|, 234");
  CHECK(read("1  234") == "1|  234");
  CHECK(read("1,234 567") == "1234| 567");
  CHECK(read("1.234") == "1.234|");
}

TEST_CASE("decimal_at_start: digits that repeat are a fraction") {
  CHECK(read("0.\\overline{3}") == "1/3|");
  CHECK(read("0.1\\overline{6}") == "1/6|");
  CHECK(read("0.(142857)") == "1/7|");
  CHECK(read("0.\\overline{9}") == "1|");
  CHECK(read("0.5 (3)") == "0.5| (3)");
}

TEST_CASE("decimal_at_start: what is no decimal has no value, and what is half one is stepped over") {
  for (const char* text : {"", "abc", "-1", ".", "e5"})
    CHECK_MESSAGE(decimal_at_start(text).length == 0, std::string(text));
  CHECK(read("1.2.3 x") == "broken| x");
  CHECK(read("0x1F,") == "broken|,");
  CHECK(read("0.33... ") == "broken|... ");
  CHECK(read("42...") == "42|...");
  CHECK(read("1e99999") == "broken|");
  CHECK(read("5e") == "5|e");
  CHECK(read("5e3x") == "5|e3x");
  CHECK(decimal_at_start(std::string(1000, '7')).value);
  CHECK_FALSE(decimal_at_start(std::string(1001, '7')).value);
  CHECK(decimal_at_start(std::string(1001, '7')).length == 1001);
  CHECK(read("1e9999") == "1e9999|");
}

} // namespace decimal_reader_test
