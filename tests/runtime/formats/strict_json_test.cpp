#include "runtime/formats/strict_json.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <chrono>

namespace strict_json_test {

using namespace millrace::formats;
using millrace::input_error;
using nlohmann::json;
using nlohmann::ordered_json;

namespace {

std::string repeated(std::string_view part, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i)
    out += part;
  return out;
}

template <class Json = json>
std::string error_of(std::string_view text, json_limits limits = {}) {
  try {
    parse_json<Json>(text, "f.json", limits);
  } catch (const input_error& error) {
    return error.what();
  }
  return "";
}

} // namespace

TEST_CASE("the value is the one that the library reads") {
  for (const std::string text :
       {R"({"a": [1, -2, 3.5, "x\u00e9", null, true, {"b": {}}], "c": {"d": [[], [{}]]}})", "[]", "{}", "7", "\"x\"",
        "null", " [18446744073709551615, -9223372036854775808, 1e-3] "}) {
    CAPTURE(text);
    CHECK(parse_json(text, "f.json") == json::parse(text));
    CHECK(parse_json<ordered_json>(text, "f.json").dump() == ordered_json::parse(text).dump());
  }
}

TEST_CASE("nesting is bounded whatever nests, and by how much it may") {
  for (const std::string open : {"[", "{\"a\":", "[{\"a\":[", "[[],"}) {
    CAPTURE(open);
    CHECK(error_of(repeated(open, 1'000'000)) == "f.json: JSON nested deeper than 64");
  }
  CHECK(error_of(repeated("[", 64) + repeated("]", 64)) == "");
  CHECK(error_of(repeated("[", 65) + repeated("]", 65)) == "f.json: JSON nested deeper than 64");
}

TEST_CASE("a mistake is told with its place") {
  CHECK(error_of("{\n  \"a\": 1,\n}").starts_with("f.json:3:1: not JSON: "));
  CHECK(error_of("[1, 1e999]").starts_with("f.json:1:9: not JSON: "));
  CHECK(error_of("{\"a\": 1, \"a\": 2}") == "f.json: key 'a' stands twice");
  CHECK(error_of<ordered_json>("{\"a\": 1, \"a\": 2}") == "f.json: key 'a' stands twice");
  CHECK(error_of("\"\x1b[2J\"").find('\x1b') == std::string::npos);
  CHECK(error_of("[] []").starts_with("f.json:1:4: not JSON: "));
  CHECK(error_of("").starts_with("f.json:1:1: not JSON: "));
}

TEST_CASE("without a source an error holds the reason alone") {
  const auto why = [](std::string_view text, json_limits limits = {}) {
    try {
      parse_json(text, "", limits);
    } catch (const input_error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(why("[1, }").starts_with("not JSON: 1:5: "));
  CHECK(why("\"\xed\xa0\x80\"").find("not UTF-8") != std::string::npos);
  CHECK(why("[[1]]", {.depth = 1}) == "JSON nested deeper than 1");
}

TEST_CASE("the last value of a key that stands twice counts where that is allowed") {
  const auto read = [](std::string_view text) { return parse_json(text, "", {.keys = json_keys::last_counts}); };
  CHECK(read(R"({"a": [1, 2], "b": 3, "a": {"c": 4}})") == json{{"a", {{"c", 4}}}, {"b", 3}});
  CHECK(read(R"({"a": {"x": 1, "x": 2}, "a": {"x": 3, "x": [4]}})") == json{{"a", {{"x", {4}}}}});
}

TEST_CASE("text and value are bounded") {
  CHECK(error_of("[1, 2]", {.bytes = 5}) == "f.json: 6 bytes of JSON, want at most 5");
  const std::string many = "[" + repeated("[],", 10'000) + "[]]";
  CHECK(error_of(many) == "");
  CHECK(error_of(many, {.memory = 1 << 20}) == "f.json: JSON of more than 1048576 bytes in memory, want fewer values");
  CHECK(error_of("[\"" + std::string(2 << 20, 'x') + "\"]", {.memory = 1 << 20}) != "");
}

TEST_CASE("reading takes time in proportion to the text") {
  const auto seconds_of = [](auto read) {
    const auto start = std::chrono::steady_clock::now();
    read();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const std::string objects = "[" + repeated("{},", 500'000) + "{}]";
  CHECK(seconds_of([&] { CHECK(parse_json(objects, "f.json").size() == 500'001); }) < 2);
  std::string keys = "{\"0\":0";
  for (int i = 1; i < 200'000; ++i)
    keys += ",\"" + std::to_string(i) + "\":0";
  keys += "}";
  CHECK(seconds_of([&] { CHECK(parse_json(keys, "f.json").size() == 200'000); }) < 2);
  CHECK(error_of<ordered_json>(keys) == "f.json: an object of more than 1024 keys");
}

TEST_CASE("a line of JSON for stdout holds no control character, and says the same") {
  const json value{"a\x1b[2J\n", "\u009b31m \x7f \u00a0 \u00e9", {{"\u0085", nullptr}}};
  const auto line = json_line(value);
  CHECK(line
        == R"(["a\u001b[2J\n","\u009b31m \u007f )"
           "\u00a0 \u00e9"
           R"(",{"\u0085":null}])");
  CHECK(json::parse(line) == value);
  CHECK(json_line("\xff") == "\"\xef\xbf\xbd\"");
}

TEST_CASE("what is no JSON is discarded where it may be") {
  CHECK(json_or_discarded("{\"a\": ").is_discarded());
  CHECK(json_or_discarded(repeated("[", 100'000)).is_discarded());
  CHECK(json_or_discarded<ordered_json>("{\"b\": 1, \"a\": 2}").begin().key() == "b");
}

} // namespace strict_json_test
