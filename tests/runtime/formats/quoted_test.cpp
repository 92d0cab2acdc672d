#include "runtime/formats/quoted.hpp"

#include <doctest/doctest.h>

namespace quoted_test {

using namespace millrace::formats;

TEST_CASE("what steers a terminal is shown as its bytes") {
  CHECK(printable("a\x1b[2Jb\r\t\x7f") == "a\\x1b[2Jb\\x0d\\x09\\x7f");
  CHECK(printable("\xc2\x9b"
                  "31m")
        == "\\xc2\\x9b"
           "31m"); // U+009B begins a control sequence in one character
  CHECK(printable("a\nb")
        == "a\\x0a"
           "b");
  CHECK(printable("ab\xe2\x80\xae"
                  "cd")
        == "ab\\xe2\\x80\\xae"
           "cd"); // U+202E turns the writing direction
  CHECK(printable("\xff\xc3") == "\\xff\\xc3");
}

TEST_CASE("what people write is shown as it is") {
  CHECK(printable("naïve 日本 \U0001F468\u200D\U0001F469 \\x") == "naïve 日本 \U0001F468\u200D\U0001F469 \\x");
  CHECK(in_quotes("abc", 2) == "'ab...'");
}

TEST_CASE("lines stay lines, each cut at its own length") {
  CHECK(printable_lines("one\n\x1b]0;title\x07\nabcdef\n", 5) == "one\n\\x1b]0;t...\nabcde...\n");
  CHECK(printable_lines("") == "");
}

} // namespace quoted_test
