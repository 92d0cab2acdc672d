#include "kernels/thread_team.hpp"

#include <doctest/doctest.h>

#include <numeric>

namespace thread_team_test {

using millrace::kernels::thread_team;

TEST_CASE("every index is handed out once, over many regions") {
  thread_team team(3);
  for (int region = 0; region < 2000; ++region) {
    std::vector<int> seen(101);
    team.run(101, 7, [&](std::int64_t first, std::int64_t last) {
      CHECK(last - first <= 7);
      for (auto i = first; i < last; ++i)
        ++seen[static_cast<std::size_t>(i)];
    });
    REQUIRE(seen == std::vector<int>(101, 1));
  }
}

TEST_CASE("two teams of one process work at the same time") {
  std::vector<std::int64_t> sums(2);
  const auto use = [&](std::size_t who) {
    thread_team team(2);
    for (int region = 0; region < 500; ++region) {
      std::vector<std::int64_t> parts(64);
      team.run(64, 1, [&](std::int64_t first, std::int64_t) { parts[static_cast<std::size_t>(first)] = first; });
      sums[who] += std::accumulate(parts.begin(), parts.end(), std::int64_t{0});
    }
  };
  std::thread other(use, 0);
  use(1);
  other.join();
  CHECK(sums == std::vector<std::int64_t>{500 * 2016, 500 * 2016}); // 0 + 1 + ... + 63 = 2016
}

TEST_CASE("no work and no threads") {
  thread_team team(2);
  int calls = 0;
  team.run(0, 4, [&](std::int64_t, std::int64_t) { ++calls; });
  CHECK(calls == 0);
  CHECK_THROWS_AS(thread_team(0), std::invalid_argument);
}

} // namespace thread_team_test
