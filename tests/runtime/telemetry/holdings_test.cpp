#include "runtime/telemetry/holdings.hpp"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

using namespace millrace::telemetry;

namespace {

using sentences = std::vector<std::string>;

sentences in_words(const std::vector<vanished_group>& all, double at_s) {
  sentences found;
  for (const auto& one : all)
    found.push_back(in_words(one, at_s));
  return found;
}

expected_group generating(std::uint64_t group, std::uint64_t asked, std::uint32_t attempt = 1) {
  return {{group, attempt}, asked, "generating", 100};
}

} // namespace

TEST_CASE("a table holds what a role was asked for until its answer is sent") {
  holdings_table table;
  table.begin("rollout/0");
  table.take("rollout/0", {4, 1});
  table.take("rollout/0", {2, 1});
  table.take("rules/0", {7, 3});
  CHECK(table.all() == std::vector<holding>{{"rollout/0", 2, {{2, 1}, {4, 1}}}, {"rules/0", 1, {{7, 3}}}});
  table.leave("rollout/0", {2, 1});
  table.leave("rollout/0", {2, 1});
  CHECK(table.all()[0] == holding{"rollout/0", 2, {{4, 1}}});
}

TEST_CASE("a later attempt takes the place of an earlier one, whose answer does not end it; a cancellation ends any") {
  holdings_table table;
  table.take("rollout/0", {4, 1});
  table.take("rollout/0", {4, 2});
  table.leave("rollout/0", {4, 1});
  CHECK(table.all()[0] == holding{"rollout/0", 2, {{4, 2}}});
  table.leave("rollout/0", 4);
  CHECK(table.all()[0] == holding{"rollout/0", 2, {}});
}

TEST_CASE("a role that begins anew has been asked for nothing") {
  holdings_table table;
  table.take("rollout/0", {4, 1});
  table.begin("rollout/0");
  CHECK(table.all() == std::vector<holding>{{"rollout/0", 0, {}}});
}

TEST_CASE("threads that take and leave do not disturb each other") {
  holdings_table table;
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t thread = 0; thread < 4; ++thread)
      threads.emplace_back([&table, thread] {
        for (std::uint64_t i = 0; i < 1000; ++i) {
          table.take("rollout/0", {thread * 1000 + i, 1});
          if (i != 500)
            table.leave("rollout/0", {thread * 1000 + i, 1});
        }
      });
  }
  CHECK(table.all() == std::vector<holding>{{"rollout/0", 4000, {{500, 1}, {1500, 1}, {2500, 1}, {3500, 1}}}});
}

TEST_CASE("a group that two reports in a row do not have has vanished, and is told once") {
  vanished_groups check;
  const std::vector<expected_group> expected{generating(4710, 1), generating(4711, 2)};
  const holding says{"rollout/1", 2, {{4710, 1}}};
  CHECK(check.compare(says, expected).empty());
  CHECK(in_words(check.suspected(), 127) ==
        sentences{"group 4711 counts as generating on rollout/1, which does not have it: its credit is held since 27 s"});
  CHECK(in_words(check.compare(says, expected), 128) ==
        sentences{"group 4711 counts as generating on rollout/1, which does not have it: its credit is held since 28 s"});
  CHECK(check.suspected().empty());
  CHECK(check.compare(says, expected).empty());
}

TEST_CASE("a group that the next report has again, or that is not expected any more, has not vanished") {
  vanished_groups check;
  const std::vector<expected_group> expected{generating(3, 1)};
  CHECK(check.compare({"rollout/0", 1, {}}, expected).empty());
  CHECK(check.compare({"rollout/0", 1, {{3, 1}}}, expected).empty());
  CHECK(check.compare({"rollout/0", 1, {}}, expected).empty()); // counted from the beginning
  CHECK(check.compare({"rollout/0", 1, {}}, {}).empty());       // its answer came
  CHECK(check.suspected().empty());
  CHECK(check.compare({"rollout/0", 1, {}}, expected).empty());
}

TEST_CASE("a report that was made before the request arrived says nothing about its group") {
  vanished_groups check;
  const std::vector<expected_group> expected{generating(3, 5)};
  for (int report = 0; report < 3; ++report)
    CHECK(check.compare({"rollout/0", 4, {}}, expected).empty());
  CHECK(check.compare({"rollout/0", 5, {}}, expected).empty());
  CHECK(check.compare({"rollout/0", 5, {}}, expected).size() == 1);
}

TEST_CASE("an earlier attempt is not the one that is expected") {
  vanished_groups check;
  const std::vector<expected_group> expected{generating(3, 2, 2)};
  CHECK(check.compare({"rollout/0", 2, {{3, 1}}}, expected).empty());
  CHECK(check.compare({"rollout/0", 2, {{3, 1}}}, expected).size() == 1);
}

TEST_CASE("each role is held against its own reports, and one that is gone against none") {
  vanished_groups check;
  const std::vector<expected_group> expected{generating(3, 1)};
  CHECK(check.compare({"rollout/0", 1, {}}, expected).empty());
  CHECK(check.compare({"rollout/1", 1, {}}, expected).empty());
  check.forget("rollout/0");
  CHECK(check.compare({"rollout/0", 1, {}}, expected).empty());
  CHECK(check.compare({"rollout/1", 1, {}}, expected).size() == 1);
}
