#include "runtime/environments/expression.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

#include <string>

namespace expression_test {

using namespace millrace;
using environments::value_of_expression;

TEST_CASE("expressions come to what a calculator says") {
  CHECK(value_of_expression("12 * 7") == "84");
  CHECK(value_of_expression(" 2+3*4 ") == "14");
  CHECK(value_of_expression("(2+3)*4") == "20");
  CHECK(value_of_expression("2^3^2") == "512");
  CHECK(value_of_expression("-2**2") == "-4");
  CHECK(value_of_expression("2 ^ -1") == "0.5");
  CHECK(value_of_expression("7 / 2") == "3.5");
  CHECK(value_of_expression("7 % 4") == "3");
  CHECK(value_of_expression("--3") == "3");
  CHECK(value_of_expression("1,234 + 1") == "1235");
  CHECK(value_of_expression("347 \xC3\x97 86") == "29842");
  CHECK(value_of_expression("1/3") == "0.333333333333");
  CHECK(value_of_expression("0 * -1") == "0");
  CHECK(value_of_expression("999999999999 * 9") == "8999999999991");
}

TEST_CASE("what is no expression is said in one line") {
  const auto error = [](const std::string& text) -> std::string {
    try {
      return value_of_expression(text);
    } catch (const input_error& wrong) {
      return wrong.what();
    }
  };
  CHECK(error("") == "the expression ends where a number is wanted at place 1 of the expression");
  CHECK(error("2 +") == "the expression ends where a number is wanted at place 4 of the expression");
  CHECK(error("2 apples") == "found 'apples' at place 3 of the expression");
  CHECK(error("1/0") == "division by zero at place 4 of the expression");
  CHECK(error("(1") == "a parenthesis is not closed at place 3 of the expression");
  CHECK(error("9^9^9") == "the value is too large at place 6 of the expression");
  CHECK(error("1.2.3") == "the expression ends where a number is wanted at place 6 of the expression");
  CHECK(error(std::string(100, '(')) == "more than 64 levels at place 66 of the expression");
  CHECK(error(std::string(100, '-') + "1") == "more than 64 levels at place 66 of the expression");
  CHECK(error(std::string(2000, '1')) == "an expression of 2000 bytes, want at most 1000");
}

} // namespace expression_test
