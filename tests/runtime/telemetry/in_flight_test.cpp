#include "runtime/telemetry/in_flight.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace in_flight_test {

using namespace millrace;
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

TEST_CASE("a table has what a role was asked for until its answer is sent") {
  in_flight_table table;
  table.start("rollout/0");
  table.begin("rollout/0", {4, 1});
  table.begin("rollout/0", {2, 1});
  table.begin("rules/0", {7, 3});
  CHECK(table.all() == std::vector<in_flight_report>{{"rollout/0", 2, {{2, 1}, {4, 1}}}, {"rules/0", 1, {{7, 3}}}});
  table.end("rollout/0", {2, 1});
  table.end("rollout/0", {2, 1});
  CHECK(table.all()[0] == in_flight_report{"rollout/0", 2, {{4, 1}}});
}

TEST_CASE("a later attempt takes the place of an earlier one, whose answer does not end it; a cancellation ends any") {
  in_flight_table table;
  table.begin("rollout/0", {4, 1});
  table.begin("rollout/0", {4, 2});
  table.end("rollout/0", {4, 1});
  CHECK(table.all()[0] == in_flight_report{"rollout/0", 2, {{4, 2}}});
  table.end("rollout/0", 4);
  CHECK(table.all()[0] == in_flight_report{"rollout/0", 2, {}});
}

TEST_CASE("a role that begins anew has been asked for nothing") {
  in_flight_table table;
  table.begin("rollout/0", {4, 1});
  table.start("rollout/0");
  CHECK(table.all() == std::vector<in_flight_report>{{"rollout/0", 0, {}}});
}

TEST_CASE("threads that begin and end groups do not disturb each other") {
  in_flight_table table;
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t thread = 0; thread < 4; ++thread)
      threads.emplace_back([&table, thread] {
        for (std::uint64_t i = 0; i < 1000; ++i) {
          table.begin("rollout/0", {thread * 1000 + i, 1});
          if (i != 500)
            table.end("rollout/0", {thread * 1000 + i, 1});
        }
      });
  }
  CHECK(table.all() == std::vector<in_flight_report>{{"rollout/0", 4000, {{500, 1}, {1500, 1}, {2500, 1}, {3500, 1}}}});
}

TEST_CASE("a guard ends its group when the last copy goes, and not after it was handed over") {
  const in_flight_groups groups("guarded/0");
  const auto report = [] {
    for (const auto& found : process_in_flight().all())
      if (found.who == "guarded/0")
        return found;
    return in_flight_report{};
  };
  {
    std::function<void()> answer;
    {
      const in_flight_guard open(groups, {5, 2});
      answer = [open] {};
    }
    CHECK(report() == in_flight_report{"guarded/0", 1, {{5, 2}}});
    answer();
    CHECK(report().held.size() == 1);
    answer = nullptr;
    CHECK(report().held.empty());
  }
  {
    const in_flight_guard open(groups, {6, 1});
    open.hand_over();
  }
  CHECK(report() == in_flight_report{"guarded/0", 2, {{6, 1}}});
  groups.end(6);
  CHECK(report().held.empty());
}

TEST_CASE("a guard that began an attempt does not end a later one of the group") {
  const in_flight_groups groups("guarded/1");
  {
    const in_flight_guard earlier(groups, {5, 1});
    groups.begin({5, 2});
  }
  for (const auto& found : process_in_flight().all())
    if (found.who == "guarded/1")
      CHECK(found == in_flight_report{"guarded/1", 2, {{5, 2}}});
}

TEST_CASE("a group that two reports in a row do not have has vanished, and is told once") {
  vanished_groups check;
  const std::vector<expected_group> expected{generating(4710, 1), generating(4711, 2)};
  const in_flight_report says{"rollout/1", 2, {{4710, 1}}};
  CHECK(check.compare(says, expected).empty());
  CHECK(in_words(check.suspected(), 127)
        == sentences{
            "group 4711 counts as generating on rollout/1, which does not have it: its credit is held since 27 s"});
  CHECK(in_words(check.compare(says, expected), 128)
        == sentences{
            "group 4711 counts as generating on rollout/1, which does not have it: its credit is held since 28 s"});
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

} // namespace in_flight_test
