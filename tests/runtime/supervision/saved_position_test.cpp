#include "runtime/supervision/saved_position.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

namespace saved_position_test {

using namespace millrace;
using supervision::position_from;
using supervision::saved_text;

TEST_CASE("where the data stood comes back from its text") {
  const source_position one{12, {{.epoch = 1, .next = 4, .rows = 8}}};
  CHECK(saved_text(one) == "12 1 4 8\n");
  CHECK(position_from(saved_text(one)) == one);
  const source_position several{
      70, {{.epoch = 1, .next = 4, .rows = 8, .given = 3}, {.epoch = 9, .next = 2, .rows = 2, .ended = true}}};
  CHECK(saved_text(several) == "70 1 4 8 9 2 2 3 0 0 1\n");
  CHECK(position_from(saved_text(several)) == several);
}

TEST_CASE("where results decide which rows come, what was drawn and measured comes back too") {
  source_position position{
      9, {{.rows = 8, .draws = 12, .rates = {{3, 65536}, {7, 0}}, .resting = {3, 4}}}, {{0, 3}, {0, 4}}};
  CHECK(saved_text(position) == "9 0 0 8\ndrawn 0 3 0 4\ndraws 12\nrates 3 65536 7 0\nresting 3 4\n");
  CHECK(position_from(saved_text(position)) == position);
  position.sources.push_back({.rows = 5, .given = 2});
  position.drawn.clear();
  CHECK(position_from(saved_text(position)) == position);
  for (const char* text : {"9 0 0 8\ndrawn 0\n", "9 0 0 8\ndrawn 0 1\n", "9 0 0 8\ndrawn\ndraws\nrates\nresting\n",
                           "9 0 0 8\ndrawn\ndraws 1\nrates 3\nresting\n", "9 0 0 8\nresting 3\n"})
    CHECK_THROWS_AS(position_from(text), input_error);
}

TEST_CASE("text that is damaged is refused") {
  for (const char* text : {"", "\n", "12", "12 1 4", "12 1 4 8 1", "12 1 4 x", "70 1 4 8 9 2 2 3 0 0", "a b c d"})
    CHECK_THROWS_AS(position_from(text), input_error);
}

} // namespace saved_position_test
