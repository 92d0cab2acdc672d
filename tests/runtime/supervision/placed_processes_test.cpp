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
  p.placement.roles["rollout"] = {.processes = 3, .hosts = {{"10.0.0.1:7000", "10.0.0.2:7000"}}};
  std::vector<std::string> hosts;
  for (const auto& placed : supervision::placed_processes(p))
    hosts.push_back(placed.host);
  CHECK(hosts == std::vector<std::string>{"10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.1:7000"});
}

namespace {

std::vector<std::string> hosts_of(const pipeline::pipeline& p) {
  std::vector<std::string> hosts;
  for (const auto& placed : supervision::placed_processes(p))
    hosts.push_back(placed.host);
  return hosts;
}

/// "rollout/0 1": which GPU each process sees, -1 for all of them.
std::vector<std::string> gpus_of(const pipeline::pipeline& p) {
  std::vector<std::string> gpus;
  for (const auto& placed : supervision::placed_processes(p))
    gpus.push_back(placed.role.name() + " " + (placed.gpu ? std::to_string(*placed.gpu) : "-1"));
  return gpus;
}

} // namespace

TEST_CASE("neighbours go to the same host with spread = blocks") {
  auto p = tests::tiny_pipeline();
  p.placement.roles["rollout"] = {.processes = 5, .hosts = {{"a:1", "b:1"}}, .spread = pipeline::host_spread::blocks};
  CHECK(hosts_of(p) == std::vector<std::string>{"a:1", "a:1", "a:1", "b:1", "b:1"});
}

TEST_CASE("any host is this one and every node of the run") {
  auto p = tests::tiny_pipeline();
  p.placement.roles["rollout"] = {.hosts = {{"any"}}};
  CHECK(hosts_of(p) == std::vector<std::string>{""});
  CHECK(p.is_here("rollout"));
  p.placement.nodes = {"a:1", "b:1"};
  CHECK(hosts_of(p) == std::vector<std::string>{"", "a:1", "b:1"});
  CHECK(!p.is_here("rollout"));
  p.placement.roles["rollout"].processes = 2; // fewer than hosts
  CHECK(hosts_of(p) == std::vector<std::string>{"", "a:1"});
}

TEST_CASE("each process has a GPU of its own: those of a list in its order, the others the lowest that are left") {
  auto p = tests::tiny_pipeline();
  p.placement.nodes = {"a:1"};
  p.placement.roles["learner"] = {.processes = 1, .gpus = {.numbers = {1}}};
  p.placement.roles["rollout"] = {.processes = 4, .hosts = {{"any"}}, .gpus = {.all = true}};
  p.placement.roles["rules"] = {.processes = 1};
  // This host: 0 and 2 are left of it; the node's are all free.
  CHECK(gpus_of(p)
        == std::vector<std::string>{"learner/0 1", "rollout/0 0", "rollout/1 0", "rollout/2 2", "rollout/3 1",
                                    "rules/0 -1"});
}

TEST_CASE("a process that moves gets the lowest GPU that nobody has on its new host") {
  using supervision::placed_process;
  std::map<std::string, placed_process> lives{{"rollout/0", {{"rollout", 0, 1}, "", 0}},
                                              {"rollout/1", {{"rollout", 1, 1}, "a:1", 1}},
                                              {"rollout/2", {{"rollout", 2, 1}, "", 2}},
                                              {"rules/0", {{"rules", 0, 1}, ""}}};
  lives.at("rollout/1").host = "";
  CHECK(supervision::free_gpu(lives, lives.at("rollout/1")) == 1);
  lives.at("rollout/2").gpu = 1;
  CHECK(supervision::free_gpu(lives, lives.at("rollout/1")) == 2);
}

TEST_CASE("fewer GPUs than processes is said at its place in the file") {
  const auto p =
      tests::tiny_pipeline({"run.device=auto", "placement.rollout.processes=3", "placement.rollout.gpus=all"});
  supervision::check_gpus(p, 3);
  try {
    supervision::check_gpus(p, 2);
    FAIL("two GPUs are enough for three processes");
  } catch (const pipeline::pipeline_errors& error) {
    CHECK(std::string(error.what())
          == "--set placement.rollout.gpus=all: placement.rollout.gpus: found 2 GPUs, want 3: each process has one");
  }
}

} // namespace supervision_test
