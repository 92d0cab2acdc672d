#include "tests/cluster/node_scene.hpp"

#include <chrono>
#include <memory>

namespace node_test {

TEST_CASE("a process that a node has started is killed: the node starts it again") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = endless});
  running_command node(s.node());
  REQUIRE(comes_to_say(node, "listening on"));
  running_command running(s.start());
  REQUIRE(s.trains_on(running, 3));
  const auto victim = s.run.files().process_of("rollout/0");
  REQUIRE(victim > 0);
  REQUIRE(kill(victim, SIGKILL) == 0);
  CHECK(comes_to_say(running, "process " + std::to_string(victim) + " is gone"));
  CHECK(comes_to_say(running, "started again as process"));
  CHECK(!says(running, "node 10.99.0.2:7000 is gone"));
  CHECK(comes_to_say(node, "ended: signal 9"));
  CHECK(s.trains_on(running, 3));
  stop(running);
}

TEST_CASE("a node is killed: its processes end with it; once it is started again the run goes on") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = endless});
  auto node = std::make_unique<running_command>(s.node());
  REQUIRE(comes_to_say(*node, "listening on"));
  running_command running(s.start());
  REQUIRE(s.trains_on(running, 3));
  const auto orphan = s.run.files().process_of("rollout/0");
  REQUIRE(kill(node->pid(), SIGKILL) == 0);
  CHECK(comes_to_say(running, "node 10.99.0.2:7000 is gone", 5));
  CHECK(wait_until([&] { return !is_running(orphan); }, 5));
  node = std::make_unique<running_command>(s.node());
  CHECK(comes_to_say(running, "node 10.99.0.2:7000 is back"));
  CHECK(s.trains_on(running, 3));
  stop(running);
}

TEST_CASE("a node that stays away ends the run with its name") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = endless, .run = "request_deadline_s = 2\n"});
  auto node = std::make_unique<running_command>(s.node());
  REQUIRE(comes_to_say(*node, "listening on"));
  running_command running(s.start());
  REQUIRE(s.trains_on(running, 3));
  node.reset();
  const auto end = running.wait(20);
  CAPTURE(running.err());
  CHECK(end.status == 1);
  CHECK(says(running, "millrace: node 10.99.0.2:7000, where rollout/0 ran, has been gone for"));
}

TEST_CASE("a node that stays away costs a run what ran there, where it may go on elsewhere") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = endless, .run = "request_deadline_s = 2\n"});
  auto node = std::make_unique<running_command>(s.node());
  REQUIRE(comes_to_say(*node, "listening on"));
  running_command running(s.start({"--set", "placement.rollout.hosts=any", "--set",
                                   std::string("placement.nodes=[\"") + scene::node_name + "\"]"}));
  REQUIRE(s.trains_on(running, 3));
  CHECK(says(running, "rollout/1    started as process"));
  const auto before = s.run.files().process_of("rollout/1");
  node.reset();
  CHECK(s.trains_on(running, 3)); // the other rollout goes on
  CHECK(comes_to_say(running,
                     "longer than run.request_deadline_s (node 10.99.0.2:7000: nobody listens there; start "
                     "`millrace node --listen 10.99.0.2:7000 --secret-file FILE` on that host): what ran there "
                     "goes on elsewhere"));
  REQUIRE(comes_to_say(running, "rollout/1    started again as process"));
  CHECK(wait_until([&] { return s.run.files().process_of("rollout/1") != before; }));
  CHECK(is_running(s.run.files().process_of("rollout/1")));
  CHECK(s.trains_on(running, 5));
  stop(running);
  check_each_group_once(s.run.files(), static_cast<int>(s.run.files().steps()));
}

TEST_CASE("a node that joins a run takes the place of one that is lost, within seconds") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = endless});
  const auto joining = [&](const std::string& name) {
    auto command = s.node("secret", name);
    command.insert(command.end(), {"--join", "10.99.0.1:7300"});
    return command;
  };
  auto node = std::make_unique<running_command>(s.node());
  REQUIRE(comes_to_say(*node, "listening on"));
  running_command running(s.start({"--set", "placement.rollout.hosts=any", "--set", "placement.port=7300", "--set",
                                   std::string("placement.nodes=[\"") + scene::node_name + "\"]"}));
  REQUIRE(s.trains_on(running, 3));
  running_command spare(joining("10.99.0.2:7001"));
  CHECK(comes_to_say(spare, "joined the run at 10.99.0.1:7300, for when another node is lost"));
  running_command same(joining("10.99.0.2:7000")); // the port is taken
  CHECK(same.wait(20).status == 1);

  auto start = std::chrono::steady_clock::now();
  const auto took_its_place = [&](const std::string& host, const std::string& lost) {
    REQUIRE(comes_to_say(running, "node " + host + " takes the place of " + lost));
    REQUIRE(comes_to_say(running, " on " + host + "\n"));
    MESSAGE("its rollout was started after " << since(start) << " s");
    CHECK(since(start) < 5);
    CHECK(s.trains_on(running, 5));
  };
  node.reset(); // one waits for that
  took_its_place("10.99.0.2:7001", scene::node_name);
  spare.signal(SIGKILL); // now none does
  CHECK(comes_to_say(running, "node 10.99.0.2:7001 is gone"));
  start = std::chrono::steady_clock::now();
  running_command third(joining("10.99.0.2:7002"));
  CHECK(comes_to_say(third, "joined the run at 10.99.0.1:7300 in the place of 10.99.0.2:7001"));
  took_its_place("10.99.0.2:7002", "10.99.0.2:7001");
  stop(running);
  check_each_group_once(s.run.files(), static_cast<int>(s.run.files().steps()));
  third.signal(SIGINT);
  CHECK(third.wait(10).status == 0);
}

TEST_CASE("the cable is cut: noticed within seconds and named; plugged in again, the run goes on") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = endless});
  running_command node(s.node());
  REQUIRE(comes_to_say(node, "listening on"));
  running_command running(s.start());
  REQUIRE(s.trains_on(running, 3));
  const auto cut_off = s.run.files().process_of("rollout/0");
  s.hosts.connect(false);
  const auto start = std::chrono::steady_clock::now();
  CHECK(comes_to_say(running, "node 10.99.0.2:7000 is gone", 10));
  const double noticed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  MESSAGE("the cut was noticed after " << noticed << " s");
  CHECK(noticed < 5);
  CHECK(wait_until([&] { return !is_running(cut_off); }, 10)); // no orphan works on
  s.hosts.connect(true);
  CHECK(comes_to_say(running, "node 10.99.0.2:7000 is back"));
  CHECK(s.trains_on(running, 3));
  stop(running);
}

} // namespace node_test
