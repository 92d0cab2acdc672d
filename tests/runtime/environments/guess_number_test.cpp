#include "runtime/words/input_error.hpp"
#include "tests/runtime/environments/played.hpp"

#include <doctest/doctest.h>

namespace guess_number_test {

using namespace millrace;
using namespace millrace::tests;

TEST_CASE("guess_number: halving the range finds the number within seven guesses, the same for a group's answers") {
  const auto env = made("guess_number");
  for (const std::uint64_t seed : {1, 2, 3, 40}) {
    const group_attempt group{.group = seed, .attempt = 0};
    const auto prompt = begin(*env, group, row_of("Play."), 2, seed);
    REQUIRE(prompt.size() == 1);
    CHECK(prompt[0].content.ends_with("from 1 to 100. Guess it. I say higher or lower. Answer with a number alone."));
    std::int64_t numbers[2] = {0, 0};
    for (const std::int32_t answer : {0, 1}) {
      std::int64_t low = 1, high = 100;
      for (int guesses = 1;; ++guesses) {
        REQUIRE(guesses <= 7);
        numbers[answer] = (low + high) / 2;
        const auto said = take(*env, {group, answer}, "My guess is " + std::to_string(numbers[answer]) + ".");
        if (said.done) {
          CHECK(said.reward == 1);
          break;
        }
        CHECK(said.reward == 0);
        (said.messages.at(0).content == "higher" ? low : high) = numbers[answer] + (low < numbers[answer] ? 0 : 1);
      }
    }
    CHECK(numbers[0] == numbers[1]);
  }
  begin(*env, {9, 0}, row_of("Play."));
  CHECK(take(*env, {{9, 0}, 0}, "no idea").messages.at(0).content
        == "I found no number. Guess a number from 1 to 100.");
  CHECK_THROWS_AS(made("guess_number", {{"low", std::int64_t{5}}, {"high", std::int64_t{4}}}), input_error);
}

} // namespace guess_number_test
