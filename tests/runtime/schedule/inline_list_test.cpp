#include "runtime/schedule/inline_list.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

namespace inline_list_test {

using millrace::schedule::inline_list;

namespace {

using list = inline_list<std::int32_t, 8>;

std::vector<std::int32_t> listed(const list& numbers) {
  return {numbers.all().begin(), numbers.all().end()};
}

/// The same numbers 1, 2, ... in both.
std::vector<std::int32_t> fill(list& numbers, std::uint32_t size) {
  std::vector<std::int32_t> expected(size);
  std::iota(expected.begin(), expected.end(), 1);
  const auto to = numbers.reset(size);
  std::copy(expected.begin(), expected.end(), to.begin());
  return expected;
}

} // namespace

TEST_CASE("numbers of a list come back, whether they stand in it or on the heap") {
  list numbers;
  CHECK(numbers.empty());
  for (const std::uint32_t size : {1u, 8u, 9u, 32u, 33u, 1000u, 0u, 7u}) {
    CAPTURE(size);
    const auto expected = fill(numbers, size);
    CHECK(numbers.size() == size);
    CHECK(numbers.empty() == (size == 0));
    CHECK(listed(numbers) == expected);
  }
  numbers.clear();
  CHECK(numbers.empty());
}

TEST_CASE("a moved list takes its numbers with it and leaves none behind") {
  std::mt19937 random(3);
  list to;
  for (int round = 0; round < 1000; ++round) {
    list from;
    const auto expected = fill(from, random() % 40);
    if (random() % 2 == 0) {
      to = std::move(from);
      CHECK(from.empty());
    } else {
      list between(std::move(from));
      CHECK(from.empty());
      to = std::move(between);
    }
    REQUIRE(listed(to) == expected);
  }
  auto* const itself = &to;
  const auto before = listed(to);
  to = std::move(*itself);
  CHECK(listed(to) == before);
}

} // namespace inline_list_test
