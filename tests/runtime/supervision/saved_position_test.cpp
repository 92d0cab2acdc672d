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

TEST_CASE("text that is damaged is refused") {
  for (const char* text : {"", "\n", "12", "12 1 4", "12 1 4 8 1", "12 1 4 x", "70 1 4 8 9 2 2 3 0 0", "a b c d"})
    CHECK_THROWS_AS(position_from(text), input_error);
}

} // namespace saved_position_test
