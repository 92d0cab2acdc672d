#include "runtime/schedule/quad_heap.hpp"

#include <doctest/doctest.h>

#include <random>
#include <set>

namespace quad_heap_test {

using millrace::schedule::quad_heap;

TEST_CASE("a heap of four gives its entries back in order") {
  std::mt19937 random(5);
  quad_heap<int> queue;
  std::multiset<int> expected; // the same, by the standard library
  for (int round = 0; round < 20000; ++round) {
    const auto what = random() % 16;
    if (what == 0) {
      const auto digit = static_cast<int>(random() % 10);
      const auto gone = [&](int entry) { return entry % 10 == digit; };
      queue.erase_if(gone);
      std::erase_if(expected, gone);
    } else if (what < 10 || expected.empty()) {
      const auto entry = static_cast<int>(random() % 1000);
      queue.push(entry);
      expected.insert(entry);
    } else {
      queue.pop();
      expected.erase(expected.begin());
    }
    REQUIRE(queue.size() == expected.size());
    REQUIRE(queue.empty() == expected.empty());
    if (!expected.empty())
      REQUIRE(queue.front() == *expected.begin());
  }
  queue.clear();
  CHECK(queue.empty());
}

} // namespace quad_heap_test
