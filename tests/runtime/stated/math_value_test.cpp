#include "runtime/stated/math_value.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <string>

namespace math_value_test {

using namespace millrace::stated;

TEST_CASE("A text states its answer in its last box, behind ####, or last") {
  CHECK(stated_math("\\boxed{1} and \\boxed{\\frac{1}{2}}", math_place::any) == "\\frac{1}{2}");
  CHECK(stated_math("\\boxed{1\n#### 2", math_place::any) == "");
  CHECK(stated_math("so 5\n#### 7\n", math_place::any) == "7");
  CHECK(stated_math("The answer is $x^2$.", math_place::any) == "$x^2$");
  CHECK(stated_math("We get $1$, so $x+1$ it is", math_place::any) == "x+1");
  CHECK(stated_math("That makes 12 apples.", math_place::any) == "12");
  CHECK(stated_math("\\boxed{3}", math_place::hash) == "");
  CHECK(expected_math("#### 5") == "5");
}

TEST_CASE("Each pair of the golden file is the same or not, as its row says, in both directions") {
  std::ifstream lines("tests/golden/math_pairs.tsv");
  int pairs = 0, same = 0;
  std::string failed;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find('\t'), second = line.find('\t', first + 1);
    REQUIRE(second != std::string::npos);
    const auto gold = line.substr(0, first), answer = line.substr(first + 1, second - first - 1);
    const bool want = line.substr(second + 1) == "1";
    ++pairs;
    same += want;
    if (is_same_math(gold, answer) != want || is_same_math(answer, gold) != want)
      failed += line + '\n';
  }
  CHECK(pairs >= 300);
  CHECK(same >= 150);
  CHECK(same <= pairs - 100);
  CHECK(failed == "");
}

TEST_CASE("a statement is unread where it has a formula in it that cannot be read, and not where it is words") {
  for (const char* unread :
       {"\\int_0^1 x dx", "\\sum_{k=1}^n k^2", "(1, \\int_0^1 x dx)", "x \\equiv 3 \\pmod{7}",
        "\\{1, \\lfloor x \\rfloor\\}", "\\begin{pmatrix} 1 & \\int x \\\\ 2 & 3 \\end{pmatrix}"}) {
    CAPTURE(unread);
    CHECK(is_unread_math(unread));
  }
  for (const char* read :
       {"", " ", "7", "1,234.5", "0.5\\%", "\\frac{1}{2}", "x^2 + 1", "(1, 2]", "\\{1, 2\\}", "x = 5", "\\sqrt{2}",
        "blue", "\\text{blue}", "I do not know", "twelve", "\\begin{pmatrix} 1 & 2 \\end{pmatrix}"}) {
    CAPTURE(read);
    CHECK_FALSE(is_unread_math(read));
  }
  CHECK_FALSE(is_unread_math("\\int " + std::string(3000, 'x'))); // too long to be compared at all
}

} // namespace math_value_test
