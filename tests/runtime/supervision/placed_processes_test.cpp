#include "runtime/supervision/placed_processes.hpp"
#include "tests/runtime/roles/fixture.hpp"

#include <doctest/doctest.h>

namespace supervision_test {

using namespace millrace;
using namespace millrace::supervision;

namespace {

std::vector<std::string> names_of(const std::vector<role_instance>& roles) {
  std::vector<std::string> names;
  for (const auto& role : roles)
    names.push_back(role.name());
  return names;
}

} // namespace

TEST_CASE("a process that works is started again at once, however often it dies") {
  supervision::restart_rule rule;
  for (int i = 0; i < 300; ++i) {
    const auto again = rule.died("rollout/0", "signal 9 (Killed)", 2.0 * i, 0);
    REQUIRE(again.refusal == "");
    REQUIRE(again.after_s == 0);
    rule.ready("rollout/0");
    rule.worked("rollout/0");
  }
  CHECK(rule.died("rollout/0", "exit status 1", 600, 0).refusal == "");
  CHECK(rule.died("rollout/0", "exit status 1", 600, 0).refusal == "");
  CHECK(rule.died("rollout/0", "exit status 1", 600, 0).refusal != ""); // as if it had never worked
}

TEST_CASE("a process that died is started again, five times a minute without any work") {
  supervision::restart_rule rule;
  for (int i = 0; i < 5; ++i) {
    CHECK(rule.died("rollout/0", "signal 9 (Killed)", 10.0 + i, 0).refusal == "");
    rule.ready("rollout/0");
  }
  CHECK(rule.died("rollout/1", "signal 9 (Killed)", 14.5, 0).refusal == ""); // another's deaths are another's
  CHECK(rule.died("rollout/0", "signal 9 (Killed)", 15, 0).refusal
        == "rollout/0 died 6 times within 60 s without any work, the last time of signal 9 (Killed)");
}

TEST_CASE("deaths of more than a minute ago are forgotten") {
  supervision::restart_rule rule;
  for (int i = 0; i < 20; ++i) {
    CHECK(rule.died("rollout/0", "signal 9 (Killed)", 13.0 * i, 0).refusal == "");
    rule.ready("rollout/0");
  }
}

TEST_CASE("a process that dies three times in a row before it is ready is not started again") {
  supervision::restart_rule rule;
  CHECK(rule.died("rules/0", "exit status 1", 0, 0).refusal == "");
  CHECK(rule.died("rules/0", "exit status 1", 100, 0).refusal == "");
  CHECK(rule.died("rules/0", "exit status 1", 200, 0).refusal
        == "rules/0 died 3 times in a row before it was ready, the last time of exit status 1");
}

TEST_CASE("while others of its role work, a process that keeps dying is started again later and later, up to 30 s") {
  supervision::restart_rule rule;
  const auto after = [&](double now) {
    const auto again = rule.died("rollout/0", "signal 9 (Killed)", now, 3);
    CHECK(again.refusal == "");
    rule.ready("rollout/0");
    return again.after_s;
  };
  for (int i = 0; i < 5; ++i)
    CHECK(after(i) == 0);
  CHECK(after(5) == 0.5);
  CHECK(after(6) == 1);
  CHECK(after(7) == 2);
  for (int i = 8; i < 20; ++i)
    after(i);
  CHECK(after(20) == 30);
  CHECK(after(200) == 0); // a quiet minute
}

TEST_CASE("roles without a placement are embedded, but for the source; placed ones have a process each") {
  const auto alone = tests::tiny_pipeline();
  CHECK(supervision::placed_processes(alone).empty());
  CHECK(names_of(supervision::embedded_roles(alone)) == std::vector<std::string>{"rollout/0", "rules/0", "learner/0"});
  const auto spread = tests::tiny_pipeline({"placement.rollout.processes=2"});
  CHECK(names_of(supervision::embedded_roles(spread)) == std::vector<std::string>{"rules/0", "learner/0"});
  const auto placed = supervision::placed_processes(spread);
  REQUIRE(placed.size() == 2);
  CHECK(placed[0].role == role_instance{"rollout", 0, 1});
  CHECK(placed[1].role == role_instance{"rollout", 1, 1});
  CHECK(placed[1].host.empty());
}

TEST_CASE("processes of a role go to its hosts in turn") {
  auto p = tests::tiny_pipeline();
  p.placement.roles["rollout"] = {3, {"10.0.0.1:7000", "10.0.0.2:7000"}};
  std::vector<std::string> hosts;
  for (const auto& placed : supervision::placed_processes(p))
    hosts.push_back(placed.host);
  CHECK(hosts == std::vector<std::string>{"10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.1:7000"});
}

} // namespace supervision_test
