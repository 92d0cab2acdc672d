#include "tests/support/long_functions.hpp"

#include <doctest/doctest.h>

namespace long_functions_test {

using namespace millrace::tests;

TEST_CASE("what is no code is blanked, and lines stay") {
  CHECK(only_code("a // {\nb /* { \n } */ c") == "a     \nb      \n      c");
  CHECK(only_code("f('{', \"}\\\"{\", 1'000)") == "f(   ,       , 1'000)");
  CHECK(only_code("x = R\"(a\n{)\"; y") == "x =     \n   ; y");
  CHECK(only_code("#define a { \\\n {\nb") == "             \n  \nb");
}

TEST_CASE("functions are found at namespace and class scope, with their lines") {
  const auto found = functions_in(R"(namespace a {
namespace {

struct point {
  int x = 0;
  std::vector<int> y{1, 2};

  int sum() const { return x; }
};

constexpr int table[] = {
    1,
};

template <class T = int>
point::point(int one, std::string two = "{")
    : x{one}, y{two} {
  if (one) {
    f([] {
      return 1;
    });
  }
}

bool operator==(const point& a, const point& b) {
  return true;
}

} // namespace
} // namespace a
)");
  REQUIRE(found.size() == 3);
  CHECK(found[0].name == "int sum() const");
  CHECK(found[0].lines == 1);
  CHECK(found[1].name == "template <class T = int>");
  CHECK(found[1].line == 17);
  CHECK(found[1].lines == 7);
  CHECK(found[2].name == "bool operator==(const point& a, const point& b)");
  CHECK(found[2].lines == 3);
}

} // namespace long_functions_test
