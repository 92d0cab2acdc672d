#include "runtime/data/shuffle.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <numeric>

namespace shuffle_test {

using namespace millrace;
using namespace millrace::data;

TEST_CASE("a shuffle is a permutation and a pure function of seed, epoch and count") {
  for (const std::uint64_t count : {0, 1, 2, 31, 32, 33, 1000}) {
    CAPTURE(count);
    auto order = shuffled(count, 7, 3);
    CHECK(order == shuffled(count, 7, 3));
    std::sort(order.begin(), order.end());
    std::vector<std::uint64_t> all(count);
    std::iota(all.begin(), all.end(), 0);
    CHECK(order == all);
  }
  CHECK(shuffled(1000, 7, 3) != shuffled(1000, 7, 4));
  CHECK(shuffled(1000, 7, 3) != shuffled(1000, 8, 3));
}

TEST_CASE("every order of three is as likely as another") {
  std::array<int, 27> seen{};
  for (std::uint64_t epoch = 0; epoch < 6000; ++epoch) {
    const auto o = shuffled(3, 1, epoch);
    ++seen[o[0] * 9 + o[1] * 3 + o[2]];
  }
  // 1000 each expected; the standard deviation is 29, so 5 of them are 145.
  int orders = 0;
  for (const int n : seen)
    if (n > 0) {
      ++orders;
      CHECK(std::abs(n - 1000) < 145);
    }
  CHECK(orders == 6);
}

TEST_CASE("a drawn number stays below its bound") {
  for (std::uint64_t i = 0; i < 1000; ++i) {
    CHECK(drawn_below(1, i, 1) == 0);
    CHECK(drawn_below(1, i, 7) < 7);
  }
}

} // namespace shuffle_test
