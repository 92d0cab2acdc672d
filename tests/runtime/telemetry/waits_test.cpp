#include "runtime/telemetry/waits.hpp"

#include <doctest/doctest.h>

#include <thread>

using namespace millrace::telemetry;

using names = std::vector<std::string>;

namespace {

wait_record wait_of(std::string who, std::string on) { return {std::move(who), "x", std::move(on), 0, 0}; }

} // namespace

TEST_CASE("a wait reads as a sentence") {
  CHECK(in_words({"learner", "group 17", "rollout/1", 100, 60}, 112.3)
        == "learner waits for group 17 on rollout/1 since 12.3 s (deadline 60 s)");
  CHECK(in_words({"learner", "group 17", "rollout/1", 100, 60}, 161)
        == "learner waits for group 17 on rollout/1 since 61 s (deadline 60 s, overdue)");
  CHECK(in_words({"rollout/0", "a prompt", "", 0, 0}, 7200) == "rollout/0 waits for a prompt since 2:00:00");
}

TEST_CASE("a table holds what began and has not ended, the longest wait first") {
  wait_table table;
  const auto first = table.begin({"learner", "group 1", "rollout/0", 5, 60});
  const auto second = table.begin({"rollout/0", "version 2", "learner", 3, 60});
  REQUIRE(table.open().size() == 2);
  CHECK(table.open()[0].what == "version 2");
  table.end(second);
  table.end(second);
  CHECK(table.open() == std::vector<wait_record>{{"learner", "group 1", "rollout/0", 5, 60}});
  table.end(first);
  { const waiting block{table, {"a", "b", "c", 0, 0}}; CHECK(table.open().size() == 1); }
  CHECK(table.open().empty());
}

TEST_CASE("waits of many threads do not disturb each other") {
  wait_table table;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread)
      threads.emplace_back([&table, thread] {
        for (int i = 0; i < 1000; ++i) {
          const auto key = table.begin(wait_of(std::to_string(thread), "a"));
          if (i != 500)
            table.end(key);
        }
      });
  }
  CHECK(table.open().size() == 4);
}

TEST_CASE("actors that wait in a circle are found, each circle once") {
  const std::vector<wait_record> chain{wait_of("a", "b"), wait_of("b", "c"), wait_of("d", "c")};
  CHECK(wait_cycles(chain).empty());
  auto circle = chain;
  circle.push_back(wait_of("c", "a"));
  CHECK(wait_cycles(circle) == std::vector<names>{{"a", "b", "c"}});
  CHECK(wait_cycles(std::vector{wait_of("a", "a")}) == std::vector<names>{{"a"}});
  const std::vector<wait_record> two{wait_of("p", "q"), wait_of("q", "p"), wait_of("x", "y"), wait_of("y", "x")};
  CHECK(wait_cycles(two) == std::vector<names>{{"p", "q"}, {"x", "y"}});
  CHECK(wait_cycles(std::vector{wait_of("a", ""), wait_of("", "a")}).empty());
}

TEST_CASE("of several ways around the shortest is told, and many ways cost little") {
  std::vector<wait_record> dense;
  for (char from = 'a'; from < 'z'; ++from)
    for (char to = static_cast<char>(from + 1); to <= 'z'; ++to)
      dense.push_back(wait_of(std::string(1, from), std::string(1, to)));
  CHECK(wait_cycles(dense).empty());
  dense.push_back(wait_of("z", "a"));
  CHECK(wait_cycles(dense) == std::vector<names>{{"a", "z"}});
}

TEST_CASE("a stall tells circles, then the dead, then every wait from the longest on") {
  const std::vector<wait_record> waits{{"learner", "group 3", "rollout/1", 10, 60},
                                       {"rules", "credit", "learner", 4, 0},
                                       {"rollout/1", "version 2", "learner", 20, 60}};
  const names gone{"rollout/1"};
  CHECK(stall_report(waits, gone, 30)
        == names{"circle: learner waits on rollout/1 waits on learner",
                 "rollout/1 is gone, and learner waits for group 3 on it",
                 "rules waits for credit on learner since 26 s",
                 "learner waits for group 3 on rollout/1 since 20 s (deadline 60 s)",
                 "rollout/1 waits for version 2 on learner since 10 s (deadline 60 s)"});
}
