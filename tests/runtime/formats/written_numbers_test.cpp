#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/written_numbers.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

namespace written_numbers_test {

using namespace millrace::formats;
using nlohmann::json;

namespace {

json parse_written(const std::string& text) {
  return parse_json(text, "", {.numbers = json_numbers::as_written});
}

} // namespace

TEST_CASE("numbers keep their digits, at every depth") {
  for (const char* text :
       {"1.10", "3.14159265358979323846", "123456789012345678901234567890", "-9223372036854775809", "1e5", "1E+05",
        "-0.0", "18446744073709551616", "0.1", "7", "-7", R"({"a":[1.50,{"b":2.0}],"c":"1.10","d":null,"e":true})",
        "[]", "{}", R"([[],{},"",0.50])"}) {
    CAPTURE(text);
    CHECK(written_text(parse_written(text)) == text);
  }
  CHECK(written_text(parse_written(R"({ "é\n" : [ 1.0 , 2 ] })")) == R"({"é\n":[1.0,2]})");
}

TEST_CASE("a number is a number, whatever keeps its digits") {
  CHECK(number_of(parse_written("0.250")) == 0.25);
  CHECK(number_of(parse_written("-3")) == -3);
  CHECK(number_of(parse_written("1E+05")) == 1e5);
  CHECK(written_type(parse_written("1.5")) == "number");
  CHECK(written_type(parse_written("\"1.5\"")) == "string");
  CHECK_FALSE(is_number(parse_written("\"1.5\"")));
  CHECK(number_text(parse_written("[1.10]")[0]) == "1.10");
}

TEST_CASE("what is no JSON is refused as ever") {
  for (const char* text : {"", "{", "1.", "01", "[1,]", "{\"a\":1.5", "nan", "1.0 2.0"})
    CHECK_THROWS_AS(parse_written(text), millrace::input_error);
}

} // namespace written_numbers_test
