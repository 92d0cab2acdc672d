#include "runtime/telemetry/waits.hpp"
#include "tests/runtime/telemetry/wait_of.hpp"

#include <doctest/doctest.h>

#include <thread>

namespace waits_test {

using namespace millrace;
using namespace millrace::telemetry;

using names = std::vector<std::string>;

namespace {

wait_record edge(std::string who, const std::string& on) {
  return wait_of(std::move(who), "x", on.empty() ? names{} : names{on}, 0, 0);
}

} // namespace

TEST_CASE("a wait reads as a sentence") {
  CHECK(in_words(wait_of("learner", "group 17", {"rollout/1"}, 100, 60), 112.3)
        == "learner waits for group 17 on rollout/1 since 12.3 s (deadline 60 s)");
  CHECK(in_words(wait_of("learner", "group 17", {"rollout/1"}, 100, 60), 161)
        == "learner waits for group 17 on rollout/1 since 61 s (deadline 60 s, overdue)");
  CHECK(in_words(wait_of("learner", "2 groups", {"rollout/0", "group 3"}, 0, 0), 5)
        == "learner waits for 2 groups on rollout/0, group 3 since 5 s");
  CHECK(in_words(wait_of("rollout/0", "a prompt", {}, 0, 0), 7200) == "rollout/0 waits for a prompt since 2:00:00");
}

TEST_CASE("a table holds what began and has not ended, the longest wait first") {
  wait_table table;
  const auto first = table.begin(wait_of("learner", "group 1", {"rollout/0"}, 5, 60));
  const auto second = table.begin(wait_of("rollout/0", "version 2", {"learner"}, 3, 60));
  REQUIRE(table.open().size() == 2);
  CHECK(table.open()[0].what == "version 2");
  table.end(second);
  table.end(second);
  CHECK(table.open() == std::vector<wait_record>{wait_of("learner", "group 1", {"rollout/0"}, 5, 60)});
  table.end(first);
  {
    const waiting block{table, wait_of("a", "b", {"c"}, 0, 0)};
    CHECK(table.open().size() == 1);
  }
  CHECK(table.open().empty());
}

TEST_CASE("waits of many threads do not disturb each other") {
  wait_table table;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread)
      threads.emplace_back([&table, thread] {
        for (int i = 0; i < 1000; ++i) {
          const auto key = table.begin(edge(std::to_string(thread), "a"));
          if (i != 500)
            table.end(key);
        }
      });
  }
  CHECK(table.open().size() == 4);
}

TEST_CASE("actors that wait in a circle are found, each circle once") {
  const std::vector<wait_record> chain{edge("a", "b"), edge("b", "c"), edge("d", "c")};
  CHECK(wait_cycles(chain).empty());
  auto circle = chain;
  circle.push_back(edge("c", "a"));
  CHECK(wait_cycles(circle) == std::vector<names>{{"a", "b", "c"}});
  CHECK(wait_cycles(std::vector{edge("a", "a")}) == std::vector<names>{{"a"}});
  const std::vector<wait_record> two{edge("p", "q"), edge("q", "p"), edge("x", "y"), edge("y", "x")};
  CHECK(wait_cycles(two) == std::vector<names>{{"p", "q"}, {"x", "y"}});
  CHECK(wait_cycles(std::vector{edge("a", ""), edge("", "a")}).empty());
  const std::vector<wait_record> forked{wait_of("a", "x", {"b", "c"}, 0, 0), edge("c", "a")};
  CHECK(wait_cycles(forked) == std::vector<names>{{"a", "c"}});
}

TEST_CASE("of several ways around the shortest is told, and many ways cost little") {
  std::vector<wait_record> dense;
  for (char from = 'a'; from < 'z'; ++from)
    for (char to = static_cast<char>(from + 1); to <= 'z'; ++to)
      dense.push_back(edge(std::string(1, from), std::string(1, to)));
  CHECK(wait_cycles(dense).empty());
  dense.push_back(edge("z", "a"));
  CHECK(wait_cycles(dense) == std::vector<names>{{"a", "z"}});
}

TEST_CASE("a stall tells circles, then the dead, then every wait from the longest on") {
  const std::vector<wait_record> waits{wait_of("learner", "group 3", {"rollout/1"}, 10, 60),
                                       wait_of("rules", "credit", {"learner"}, 4, 0),
                                       wait_of("rollout/1", "version 2", {"learner"}, 20, 60)};
  const names gone{"rollout/1"};
  CHECK(stall_report(waits, gone, 30)
        == names{"circle: learner waits on rollout/1 waits on learner",
                 "rollout/1 is gone, and learner waits for group 3 on it",
                 "rules waits for credit on learner since 26 s",
                 "learner waits for group 3 on rollout/1 since 20 s (deadline 60 s)",
                 "rollout/1 waits for version 2 on learner since 10 s (deadline 60 s)"});
}

} // namespace waits_test
