#include "runtime/data/source.hpp"

#include <doctest/doctest.h>

#include <cstdio>
#include <set>
#include <stdexcept>

namespace arithmetic_test {

using namespace millrace;
using namespace millrace::data;

namespace {

struct question {
  long a = 0, b = 0;
  char word[16] = {};
};

question parts(const row& r) {
  question q;
  REQUIRE(std::sscanf(r.prompt.back().content.c_str(), "What is %ld %15s %ld?", &q.a, q.word, &q.b) == 3);
  return q;
}

} // namespace

TEST_CASE("an addition asks for the sum of two numbers within the bounds") {
  auto source = make_arithmetic({"add", 10, 99, 1, "Reply with the number only.", ""});
  std::set<long> numbers;
  for (int i = 0; i < 2000; ++i) {
    const row r = source->next().value();
    const question q = parts(r);
    REQUIRE(r.prompt.size() == 1);
    CHECK(r.prompt[0]
          == chat_turn{"user", "What is " + std::to_string(q.a) + " plus " + std::to_string(q.b)
                                   + "? Reply with the number only."});
    CHECK(r.answer == std::to_string(q.a + q.b));
    CHECK(r.index == static_cast<std::uint64_t>(i));
    numbers.insert({q.a, q.b});
  }
  // 4000 draws out of 90 numbers miss one with probability 1e-17.
  CHECK(numbers.size() == 90);
  CHECK(*numbers.begin() == 10);
  CHECK(*numbers.rbegin() == 99);
}

TEST_CASE("subtraction and multiplication, also below zero") {
  auto minus = make_arithmetic({"subtract", -5, 5, 2, "", ""});
  auto times = make_arithmetic({"multiply", -5, 5, 2, "", ""});
  for (int i = 0; i < 50; ++i) {
    const row m = minus->next().value(), t = times->next().value();
    const question q = parts(m), p = parts(t);
    CHECK(m.answer == std::to_string(q.a - q.b));
    CHECK(m.prompt.back().content == "What is " + std::to_string(q.a) + " minus " + std::to_string(q.b) + '?');
    CHECK(t.answer == std::to_string(p.a * p.b));
  }
}

TEST_CASE("row i is a pure function of seed and i: going back gives it again, another seed another") {
  auto source = make_arithmetic({});
  std::vector<row> rows;
  for (int i = 0; i < 20; ++i)
    rows.push_back(source->next().value());
  source->restore({0, 7, 0});
  CHECK(source->save() == position{0, 7, 0});
  for (std::size_t i = 7; i < 20; ++i)
    CHECK(source->next().value() == rows[i]);
  arithmetic_options other;
  other.seed = 2;
  CHECK(make_arithmetic(other)->next().value() != rows[0]);
}

TEST_CASE("the system message comes first") {
  arithmetic_options options;
  options.system = "Be brief.";
  const row r = make_arithmetic(options)->next().value();
  REQUIRE(r.prompt.size() == 2);
  CHECK(r.prompt[0] == chat_turn{"system", "Be brief."});
}

TEST_CASE("wrong calls are refused") {
  CHECK_THROWS_AS(make_arithmetic({"divide", 1, 2, 1, "", ""}), std::invalid_argument);
  CHECK_THROWS_AS(make_arithmetic({"add", 3, 2, 1, "", ""}), std::invalid_argument);
}

} // namespace arithmetic_test
