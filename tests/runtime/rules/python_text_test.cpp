#include "runtime/rules/python_text.hpp"

#include <doctest/doctest.h>

namespace python_text_test {

using namespace millrace::rules;

TEST_CASE("A text counts characters as Python does, and a byte that is no UTF-8 is one") {
  CHECK(as_python_text("a\u00e9\U0001F600").size() == 3);
  CHECK(as_python_text("a\xff\xfe").size() == 3);
  CHECK(as_utf8(as_python_text("a\u00e9\U0001F600")) == "a\u00e9\U0001F600");
  CHECK(last_characters(U"abc", 2) == U"bc");
  CHECK(last_characters(U"abc", 5) == U"abc");
}

TEST_CASE("Replacing, splitting and stripping give what Python's str methods give") {
  CHECK(replaced(U"aaa", U"aa", U"b") == U"ba");
  CHECK(replaced(U"abc", U"x", U"y") == U"abc");
  CHECK(split_at(U"a=b=", U"=") == std::vector<python_text>{U"a", U"b", U""});
  CHECK(split_at(U"", U"=") == std::vector<python_text>{U""});
  CHECK(stripped(U"\u3000 a b\u2028\x1c") == U"a b");
  CHECK(stripped(U" \n") == U"");
}

TEST_CASE("Digits are those of any script, raised ones and ones in circles; an empty text is none") {
  CHECK(is_python_digits(U"12\u0663\u00b2\u2460"));
  CHECK_FALSE(is_python_digits(U"1.2"));
  CHECK_FALSE(is_python_digits(U"\u00bd"));
  CHECK_FALSE(is_python_digits(U""));
}

TEST_CASE("A group ends at the brace that closes the first open one") {
  CHECK(through_closing_brace(U"x\\boxed{a{b}c}d", 1) == U"\\boxed{a{b}c}");
  CHECK(through_closing_brace(U"\\boxed{a{b}", 0) == U"");
  CHECK(through_closing_brace(U"\\boxed}{}", 0) == U"");
}

} // namespace python_text_test
