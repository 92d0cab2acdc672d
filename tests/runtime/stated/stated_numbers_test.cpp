#include "runtime/stated/stated_numbers.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace stated_numbers_test {

using namespace millrace::stated;

namespace {

std::string boxed(std::string_view text) {
  return canonical(stated_in(text, number_place::boxed, false));
}

std::string hash(std::string_view text) {
  return canonical(stated_in(text, number_place::hash, false));
}

std::string expected(std::string_view text) {
  return canonical(expected_in(text, false));
}

} // namespace

TEST_CASE("stated_in: the last box that is in no other one counts, if it is closed") {
  CHECK(boxed("\\boxed{1} no, \\boxed{59}") == "59");
  CHECK(boxed("\\boxed{\\boxed{42}}") == "42");
  CHECK(boxed("\\boxed{\\boxed{42} + 1}") == "");
  CHECK(boxed("\\boxed 42, done") == "42");
  CHECK(boxed("($\\boxed 42$)") == "42");
  CHECK(boxed("\\boxed 7; then \\boxed{42}") == "42");
  CHECK(boxed("\\boxed{7}, then \\boxed{}") == "");
  CHECK(boxed("\\boxed{7}, then \\boxed{4") == "");
  CHECK(boxed("59") == "");
}

TEST_CASE("stated_in: a text with a box ends in its box, whatever number comes last") {
  const auto last = [](std::string_view text) { return canonical(stated_in(text, number_place::last, false)); };
  CHECK(last("\\boxed{42}, in 3 steps") == "42");
  CHECK(last("5, \\boxed{x}, in 3 steps") == "");
  CHECK(last("42, in 3 steps") == "3");
}

TEST_CASE("stated_in: an equation states its number, once") {
  CHECK(boxed("\\boxed{x = 5}") == "5");
  CHECK(boxed("\\boxed{5 = x}") == "5");
  CHECK(boxed("\\boxed{2 + 3 = 5}") == "5");
  CHECK(boxed("\\boxed{x = 10/2 = 5}") == "5");
  CHECK(boxed("\\boxed{x = \\frac{1}{3} \\approx 0.333}") == "1/3");
  CHECK(boxed("\\boxed{5 = 6}") == "");
  CHECK(boxed("\\boxed{y = 2x + 5}") == "");
  CHECK(boxed("\\boxed{5 = 2x}") == "");
  CHECK(boxed("\\boxed{x \\ge 5}") == "");
  CHECK(boxed("\\boxed{0 < x = 5}") == "");
}

TEST_CASE("stated_in: several numbers are several, in their order") {
  CHECK(boxed("\\boxed{1,2}") == "1, 2");
  CHECK(boxed("\\boxed{1,234}") == "1234");
  CHECK(boxed("\\boxed{1,234, 5}") == "1234, 5");
  CHECK(boxed("\\boxed{x=5, y=6}") == "5, 6");
  CHECK(boxed("\\boxed{5 \\text{ or } 6}") == "5, 6");
  CHECK(boxed("\\boxed{1, 2, \\text{ and } 3}") == "1, 2, 3");
  CHECK(boxed("\\boxed{5, x}") == "");
  CHECK(boxed("\\boxed{(1, 2)}") == "");
}

TEST_CASE("stated_in: behind the last #### that a number follows") {
  CHECK(hash("#### 5\n#### 1,004 apples") == "1004");
  CHECK(hash("#### 42\n\n#### Remarks\nNothing more in 7 lines.") == "42");
  CHECK(hash("#### Step 1\n#### 42") == "42");
  CHECK(hash("####\n42") == "42");
  CHECK(hash("#### 42. That is 6 * 7.") == "42");
  CHECK(hash("#### x > 5") == "");
  CHECK(hash("#### 3, 4") == "3, 4");
  CHECK(hash("42") == "");
}

TEST_CASE("expected_in: the mark, the box, or the whole text, read as answers are") {
  CHECK(expected("She sells 9 eggs for $2.\n#### 18") == "18");
  CHECK(expected("so the sum is $\\boxed{18}$") == "18");
  CHECK(expected("The answer is 42") == "42");
  CHECK(expected("12 cm") == "12");
  CHECK(expected("$x = -5$") == "-5");
  CHECK(expected("90^\\circ") == "90");
  CHECK(expected("1,2") == "1, 2");
  CHECK(expected("The values are 3 and 4") == "");
  CHECK(expected("between 3 and 4") == "");
  CHECK(expected("five") == "");
  CHECK(expected("#### none, 7") == "");
  CHECK(expected("") == "");
}

TEST_CASE("stated_in: a random number is read alike in every spelling, and no other number is read") {
  std::mt19937 random(7);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const auto one_of = [&](const std::vector<std::string>& all) { return all[random() % all.size()]; };
  for (int i = 0; i < 20'000; ++i) {
    // A proper fraction in lowest terms, whole + above / under, with a sign.
    const int under = 2 + below(40), whole = 1 + below(1'000'000);
    int above = 1 + below(under - 1);
    while (std::gcd(above, under) != 1)
      above = 1 + below(under - 1);
    const bool negative = below(2) == 1, integer = below(2) == 1;
    const auto a = std::to_string(above), u = std::to_string(under), w = std::to_string(whole);
    const auto top = std::to_string(static_cast<long>(whole) * under + above);
    auto grouped = [&](const std::string& separator) {
      std::string out = w;
      for (int at = static_cast<int>(w.size()) - 3; at > 0; at -= 3)
        out.insert(static_cast<std::size_t>(at), separator);
      return out;
    };
    const std::string number =
        integer ? one_of({w, w + ".0", grouped(","), grouped("{,}"), grouped("\\,"), grouped(" "), "{" + w + "}",
                          w + "e0", "\\frac{" + w + "}{1}", "\\text{" + w + "}", "0" + w})
                : one_of({w + " " + a + "/" + u, w + "\\frac{" + a + "}{" + u + "}", "\\dfrac{" + top + "}{" + u + "}",
                          top + "/" + u, top + " / " + u, "\\frac{ " + top + " }{ " + u + " }",
                          "\\left(" + top + "/" + u + "\\right)", w + "\\tfrac{" + a + "}{" + u + "}"});
    const std::string sign = negative ? one_of({"-", "- ", "\u2212", "\u2013"}) : one_of({"", "+"});
    const std::string said =
        one_of({"", "x = ", "x_1 \\;=\\; ", "\\text{Area} = "}) + sign + number
        + one_of({"", " cm", "\\text{ cm}^2", "\\,\\mathrm{m/s^2}", "^\\circ", "\\%", ".", " apples"});
    const std::string want =
        (negative ? "-" : "")
        + (integer ? w : canonical({*exact_number::of_decimal(top, 0)->over(*exact_number::of_decimal(u, 0))}));
    CHECK_MESSAGE(boxed("so $\\boxed{" + said + "}$") == want, said);
    CHECK_MESSAGE(expected(said) == want, said);
    CHECK_MESSAGE(hash("#### " + said + "\n") == want, said);
    CHECK_MESSAGE(canonical(stated_in("With 3 of them it is " + said, number_place::last, false)) == want, said);
  }
}

TEST_CASE("stated_in: any mixture of what a statement is made of is read without harm, and to the same value again") {
  constexpr std::array parts{
      "\\boxed", "{",  "}",   "(",     ")",      "1",        "23",     "456",    ",",      ".",          "-",
      "+",       "/",  "*",   "^",     "_",      "=",        " ",      "\n",     "\\frac", "\\text",     "\\",
      "####",    "x",  "cm",  " and ", "%",      "$",        "\u00BD", "\u00B2", "e",      "\\overline", "\\approx",
      "\xFF",    "**", "{,}", "\\,",   "\\circ", " million", "\\left", "<",      "\u0661"};
  std::mt19937 random(11);
  for (int i = 0; i < 60'000; ++i) {
    std::string text;
    for (int k = static_cast<int>(random() % 14); k >= 0; --k)
      text += parts[random() % parts.size()];
    for (const auto place : {number_place::last, number_place::boxed, number_place::hash, number_place::whole}) {
      const auto stated = stated_in(text, place, false);
      const auto said = canonical(stated);
      if (said.size() > 900) // a power may have more digits than a number may be written with
        continue;
      CHECK_MESSAGE(
          canonical(stated_in("\\boxed{" + said + "}", place == number_place::hash ? number_place::last : place, false))
              == said,
          text);
    }
    expected_in(text, true);
  }
}

TEST_CASE("stated_in: a text of hostile nesting takes no long time and no deep stack") {
  for (const std::size_t depth : {10U, 500U, 4000U, 100'000U})
    for (const auto place : {number_place::last, number_place::boxed, number_place::hash, number_place::whole}) {
      const std::string text = std::string(depth, '{') + "5" + std::string(depth, '}');
      CHECK(stated_in("\\boxed" + text, place, false).size() <= 1);
      CHECK(stated_in("#### " + text, place, false).size() <= 1);
    }
  CHECK(boxed("\\boxed{" + std::string(300, '(') + "5" + std::string(300, ')') + "}") == "5");
  for (const std::string part : {"\\boxed{", "\\boxed ", "{", "(", "####", "#### 1", "\\boxed{1}", "=", ",",
                                 "\\boxed{(", "\\approx", "1 and ", "####\n"}) {
    std::string text;
    while (text.size() < 200'000)
      text += part;
    for (const auto place : {number_place::last, number_place::boxed, number_place::hash, number_place::whole})
      for (const std::string end : {"", "}", "5}", "#### 5"})
        CHECK(stated_in(text + end, place, false).size() <= 64);
    CHECK(expected_in(text, false).size() <= 64);
    CHECK(stated_in(text + "5" + std::string(text.size(), '}'), number_place::whole, false).size() <= 64);
    CHECK(stated_in("\\boxed{" + text.substr(0, 8000) + "5}", number_place::boxed, false).size() <= 64);
  }
}

} // namespace stated_numbers_test
