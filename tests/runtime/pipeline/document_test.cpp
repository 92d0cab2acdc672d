#include "runtime/pipeline/document.hpp"
#include "runtime/pipeline/wording.hpp"

#include <doctest/doctest.h>

namespace document_test {

using namespace millrace::pipeline;

namespace {

std::string error_of(const std::string& text) {
  try {
    parse_document(text, "p.toml");
  } catch (const pipeline_errors& error) {
    return error.what();
  }
  return "";
}

std::string repeated(const std::string& what, int times) {
  std::string out;
  for (int i = 0; i < times; ++i)
    out += what;
  return out;
}

} // namespace

TEST_CASE("values and keys know where they stand, and tables keep the file's order") {
  const value v = parse_document("# é\n[b]\nx = 1\n[a]\ny = \"é\" # c\nz = [1, 2.5, true]\n", "p.toml");
  REQUIRE(v.members.size() == 2);
  CHECK(v.members[0].key == "b");
  CHECK(v.members[1].key == "a");
  const value& a = v.members[1].is;
  CHECK(a.find("y")->where.text() == "p.toml:5:1");
  CHECK(a.find("y")->is.where.text() == "p.toml:5:5");
  CHECK(a.find("y")->is.text == "é");
  CHECK(a.find("z")->is.items[1].where.text() == "p.toml:6:9");
  CHECK(a.find("z")->is.items[1].real == 2.5);
  CHECK(a.find("none") == nullptr);
}

TEST_CASE("what toml++ refuses is one line") {
  CHECK(error_of("a = \n") == "p.toml:1:5: not TOML: Error while parsing key-value pair: expected value, saw '\\n'");
  CHECK(error_of("x = 1\nx = 2\n")
        == "p.toml:2:5: not TOML: Error while parsing key-value pair: cannot redefine existing integer 'x'");
  CHECK(error_of("big = 99999999999999999999\n").starts_with("p.toml:1:27: not TOML: "));
}

TEST_CASE("bytes that are no text are refused where they stand") {
  CHECK(error_of("a = 1\nb = \"\xff\"\n") == "p.toml:2:6: found a byte that is not UTF-8, want UTF-8 text");
  CHECK(error_of(std::string("a = 1\n\0", 7)) == "p.toml:2:1: found a NUL byte, want text");
  CHECK(error_of("# \xed\xa0\x80\n") == "p.toml:1:3: found a byte that is not UTF-8, want UTF-8 text");
}

TEST_CASE("size and depth are bounded before toml++ sees them") {
  CHECK(error_of(repeated("#", (1 << 20) + 1)) == "p.toml:1:1: found 1048577 bytes, want a pipeline of at most 1 MiB");
  CHECK(error_of(repeated("#", 1 << 20)).empty());
  CHECK(error_of("a = " + repeated("[", 32) + repeated("]", 32)).empty());
  const std::string deep = "found more than 32 levels, want tables, lists and dotted keys at most that deep";
  CHECK(error_of("a = " + repeated("[", 33) + repeated("]", 33)) == "p.toml:1:37: " + deep);
  CHECK(error_of("a = " + repeated("{a=", 40)) == "p.toml:1:101: " + deep);
  CHECK(error_of(repeated("a.", 31) + "a = 1\n").empty());
  CHECK(error_of(repeated("a.", 100000) + "a = 1\n") == "p.toml:1:64: " + deep);
  CHECK(error_of("[" + repeated("a.", 100000) + "a]\n") == "p.toml:1:65: " + deep);
  CHECK(error_of(repeated("\"a\" . ", 40) + "a = 1\n").ends_with(deep));
}

TEST_CASE("brackets and dots inside strings and comments are not depth") {
  const std::string many = repeated("[.{", 50);
  CHECK(error_of("a = \"" + many + "\\\"" + many + "\"\n").empty());
  CHECK(error_of("a = '" + many + "'\n").empty());
  CHECK(error_of("a = \"\"\"\n" + many + "\"\"" + many + "\\\"\"\"\"\"\n").empty());
  CHECK(error_of("a = '''\n" + many + "''" + many + "'''''\n").empty());
  CHECK(error_of("# " + many + "\na = 1\n").empty());
  CHECK(error_of("a = [" + repeated("1.5, ", 100) + "]\n").empty());
}

TEST_CASE("inputs that crash toml++ 3.3 unguarded") {
  CHECK(error_of(" [\x11\"x\"== 2\"xau]\x0b") != "");
  CHECK(error_of("a = [1\"gog\xcf\xa9\n") != "");
  CHECK(error_of("a = 1 \xcf\xa9\n") != "");
  CHECK(error_of("\xcf\xa9 = 1\n") != "");
  // A letter beyond ASCII right where a long string's line ending is trimmed.
  CHECK(parse_document("a = \"\"\"\\\n  \xcf\xa9\"\"\"\n", "p.toml").members[0].is.text == "\xcf\xa9");
}

TEST_CASE("the nearest word is near enough or none") {
  const std::vector<std::string> names{"slots", "steps", "stop", "max_new_tokens", "seed"};
  CHECK(nearest("slot", names) == "slots");
  CHECK(nearest("sltos", names) == "slots");
  CHECK(nearest("max_new_token", names) == "max_new_tokens");
  CHECK(nearest("maxnewtokens", names) == "max_new_tokens");
  CHECK(nearest("temperature", names).empty());
  CHECK(nearest("x", names).empty());
  CHECK(nearest("", names).empty());
}

TEST_CASE("what is written reads back") {
  CHECK(in_quotes("a\"b\\c\nd\x01") == "\"a\\\"b\\\\c\\nd\\u0001\"");
  for (const double x : {0.0, 1.0, 0.1, 1e-5, -2.5e300, 9007199254740993.0, 1e15, 1e17}) {
    const value v =
        parse_document("x = " + real_number(x) + "\ny = " + in_quotes(std::string("\x02\x7f\t\"")) + '\n', "p.toml");
    CHECK(v.members[0].is.kind == value::type::real);
    CHECK(v.members[0].is.real == x);
    CHECK(v.members[1].is.text == "\x02\x7f\t\"");
  }
}

} // namespace document_test
