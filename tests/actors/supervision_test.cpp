#include "actors/supervision.hpp"

#include "actors/job_thread.hpp"
#include "tests/actors/fixture.hpp"
#include "tests/support/eventually.hpp"

#include <doctest/doctest.h>

#include <thread>

using namespace millrace;
using namespace millrace::actors;

namespace {

std::vector<std::string> names_of(const std::vector<role_instance>& roles) {
  std::vector<std::string> names;
  for (const auto& role : roles)
    names.push_back(role.name());
  return names;
}

} // namespace

TEST_CASE("a process that died is started again, five times a minute") {
  restart_rule rule;
  for (int i = 0; i < 5; ++i) {
    CHECK(rule.died("rollout/0", "signal 9 (Killed)", 10.0 + i) == "");
    rule.ready("rollout/0");
  }
  CHECK(rule.died("rollout/1", "signal 9 (Killed)", 14.5) == ""); // another's deaths are another's
  CHECK(rule.died("rollout/0", "signal 9 (Killed)", 15)
        == "rollout/0 died 6 times within 60 s, the last time of signal 9 (Killed)");
}

TEST_CASE("deaths of more than a minute ago are forgotten") {
  restart_rule rule;
  for (int i = 0; i < 20; ++i) {
    CHECK(rule.died("rollout/0", "signal 9 (Killed)", 13.0 * i) == "");
    rule.ready("rollout/0");
  }
}

TEST_CASE("a process that dies three times in a row before it is ready is not started again") {
  restart_rule rule;
  CHECK(rule.died("rules/0", "exit status 1", 0) == "");
  CHECK(rule.died("rules/0", "exit status 1", 100) == "");
  CHECK(rule.died("rules/0", "exit status 1", 200)
        == "rules/0 died 3 times in a row before it was ready, the last time of exit status 1");
}

TEST_CASE("roles without a placement are embedded, but for the source; placed ones have a process each") {
  const auto alone = tests::tiny_pipeline();
  CHECK(placed_processes(alone).empty());
  CHECK(names_of(embedded_roles(alone)) == std::vector<std::string>{"rollout/0", "rules/0", "learner/0"});
  const auto spread = tests::tiny_pipeline({"placement.rollout.processes=2"});
  CHECK(names_of(embedded_roles(spread)) == std::vector<std::string>{"rules/0", "learner/0"});
  const auto placed = placed_processes(spread);
  REQUIRE(placed.size() == 2);
  CHECK(placed[0].role == role_instance{"rollout", 0, 1});
  CHECK(placed[1].role == role_instance{"rollout", 1, 1});
  CHECK(placed[1].host.empty());
}

TEST_CASE("processes of a role go to its hosts in turn") {
  auto p = tests::tiny_pipeline();
  p.placement.roles["rollout"] = {3, {"10.0.0.1:7000", "10.0.0.2:7000"}};
  std::vector<std::string> hosts;
  for (const auto& placed : placed_processes(p))
    hosts.push_back(placed.host);
  CHECK(hosts == std::vector<std::string>{"10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.1:7000"});
}

TEST_CASE("a job thread runs its jobs in order, and ends the one at hand when it closes") {
  tests::watched<std::vector<int>> done;
  {
    job_thread thread;
    for (int i = 0; i < 3; ++i)
      thread.post([&, i] { done.change([&](auto& all) { all.push_back(i); }); });
    CHECK(done.wait([](const auto& all) { return all.size() == 3; }));
    CHECK(done.get() == std::vector<int>{0, 1, 2});
    tests::watched<bool> begun;
    thread.post([&] {
      begun.change([](bool& x) { x = true; });
      done.change([](auto& all) { all.push_back(3); });
    });
    CHECK(begun.wait([](bool x) { return x; }));
  }
  CHECK(done.get() == std::vector<int>{0, 1, 2, 3});
}
