#include "runtime/rules/code_match.hpp"
#include "runtime/rules/code_tests.hpp"

#include <doctest/doctest.h>

namespace code_match_test {

using namespace millrace::rules;
using nlohmann::json;

TEST_CASE("outputs are equal word by word, whatever the spaces and empty lines") {
  CHECK(same_output("1 2\n3\n", "1 2\n3"));
  CHECK(same_output("  1   2 \r\n\n3\n\n", "1 2\n3\n"));
  CHECK(same_output("", "\n"));
  CHECK_FALSE(same_output("1\n2", "1 2"));
  CHECK_FALSE(same_output("1", "1\n2"));
  CHECK_FALSE(same_output("yes", "Yes"));
  CHECK_FALSE(same_output("", "0"));
}

TEST_CASE("integers are exact, other numbers close") {
  CHECK(same_output("0.3333333", "0.33333333333"));
  CHECK(same_output("2.0", "2"));
  CHECK(same_output("1e3", "1000"));
  CHECK_FALSE(same_output("1000001", "1000000"));
  CHECK_FALSE(same_output("0.334", "0.333"));
  CHECK_FALSE(same_output("nan", "1.0"));
}

TEST_CASE("results are equal as JSON") {
  CHECK(same_result("[1, {\"a\": [true]}]", json::parse("[1, {\"a\": [1]}]")));
  CHECK(same_result("3", json::parse("[3]"))); // a list of one is the value
  CHECK(same_result("0.30000000000000004", json(0.3)));
  CHECK(same_result("2.0", json(2)));
  CHECK(same_result("null", json()));
  CHECK_FALSE(same_result("[3, 3]", json::parse("[3]")));
  CHECK_FALSE(same_result("{\"a\": 1}", json::parse("{\"b\": 1}")));
  CHECK_FALSE(same_result("\"3\"", json(3)));
  CHECK_FALSE(same_result("4", json(3)));
}

TEST_CASE("integers of any length are exact") {
  const auto wanted =
      read_code_tests(R"({"fn_name": "f", "inputs": ["25"], "outputs": ["[15511210043330985984000000]"]})")
          .expected.at(0);
  CHECK(same_result("[15511210043330985984000000]", wanted));
  CHECK(same_result("15511210043330985984000000", wanted));
  CHECK_FALSE(same_result("[15511210043330985984000001]", wanted));
  CHECK_FALSE(same_result("[-15511210043330985984000000]", wanted));
  CHECK(same_result("18446744073709551616.0", json(18446744073709551615u))); // a double is close
}

TEST_CASE("what is no JSON or too deep is no match") {
  CHECK_FALSE(same_result("", json()));
  CHECK_FALSE(same_result("NaN", json(1)));
  CHECK_FALSE(same_result("1 1", json(1)));
  CHECK_FALSE(same_result(std::string(100000, '[') + std::string(100000, ']'), json::parse("[[]]")));
}

} // namespace code_match_test
