#include "runtime/words/input_error.hpp"
#include "tests/runtime/environments/played.hpp"

#include <doctest/doctest.h>

namespace calculator_test {

using namespace millrace;
using namespace millrace::tests;

TEST_CASE("calculator: a call is told its value, a turn without one ends the episode") {
  const auto env = made("calculator");
  const group_attempt group{.group = 4, .attempt = 0};
  const auto prompt = begin(*env, group, row_of("What is 347 * 86?"), 2);
  REQUIRE(prompt.size() == 6);
  CHECK(prompt[0].role == "system");
  CHECK(prompt[2] == chat_turn{"assistant", "calc(12 * 7)"});
  CHECK(prompt[5] == chat_turn{"user", "What is 347 * 86?"});
  CHECK(take(*env, {group, 0}, "I use calc(347 * (80 + 6)).") == saying{.messages = {{"user", "29842"}}});
  CHECK(take(*env, {group, 1}, "calc(347 * ") // not closed, and no sum
        == saying{.messages = {{"user", "error: the expression ends where a number is wanted at place 7 of the "
                                        "expression"}}});
  CHECK(take(*env, {group, 0}, "29842") == saying{.done = true});
  env->end(group);
  CHECK_THROWS_WITH(take(*env, {group, 0}, "1"), "no such episode is here");
}

TEST_CASE("calculator: a system turn of the row stays, and the example may be left out") {
  const auto env = made("calculator", {{"example", false}, {"name", std::string("compute")}});
  const auto prompt = begin(*env, {1, 0}, {.prompt = {{"system", "Be brief."}, {"user", "2 + 2?"}}});
  REQUIRE(prompt.size() == 2);
  CHECK(prompt[0].content
        == "Be brief.\n\nYou have a calculator. Write compute(12 * 7) to use it: you are told the value.");
  CHECK(take(*env, {{1, 0}, 0}, "compute(2 + 2)").messages.at(0).content == "4");
  CHECK_THROWS_AS(made("calculator", {{"name", std::string("a(")}}), input_error);
}

} // namespace calculator_test
