#include "tests/cluster/node_scene.hpp"

#include <algorithm>
#include <tuple>

namespace node_test {

TEST_CASE("a role on another host: the run ends well and its bytes cross the cable over UCX") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = endless, .preset = "one_step_off"});
  running_command node(s.node());
  REQUIRE(comes_to_say(node, "listening on 10.99.0.2:7000"));
  running_command running(s.start());
  CHECK(comes_to_say(running, "tensors come over tcp/" + s.hosts.interface() + " from"));
  const auto first_bytes = s.hosts.bytes_on_cable();
  const auto first_step = s.run.files().steps();
  CHECK(s.trains_on(running, 20));
  const auto bytes = s.hosts.bytes_on_cable() - first_bytes;
  const auto steps = s.run.files().steps() - first_step;
  // Every step's weights go there, in as many bytes as the file that holds them; one step may still be under way.
  CHECK(bytes > (steps - 1) * std::filesystem::file_size(tiny_model() / "model.safetensors") / 2);
  stop(running);
  CHECK(says(running, "rollout/0    started as process"));
  CHECK(says(running, "on 10.99.0.2:7000"));

  CHECK(comes_to_say(node, "ended: exit status 0"));
  CHECK(!node.ended());
  node.signal(SIGINT);
  CHECK(node.wait(10).status == 0);
}

TEST_CASE("of each version one copy crosses the cable, however many rollouts are on the other host") {
  if (!can_have_two_hosts())
    return;
  const temporary_folder models;
  write_wide_model(models / "wide");
  const scene s({.steps = endless, .preset = "synchronous", .model = models / "wide"});
  running_command node(s.node());
  REQUIRE(comes_to_say(node, "listening on 10.99.0.2:7000"));
  running_command running(s.start({"--set", "placement.rollout.processes=3"}));
  REQUIRE(s.trains_on(running, 5));
  const auto first_bytes = s.hosts.bytes_on_cable();
  const auto first_step = s.run.files().steps();
  CHECK(s.trains_on(running, 20));
  const auto bytes = static_cast<double>(s.hosts.bytes_on_cable() - first_bytes);
  const auto steps = static_cast<double>(s.run.files().steps() - first_step);
  const auto weights = static_cast<double>(std::filesystem::file_size(models / "wide" / "model.safetensors"));
  MESSAGE((bytes / steps / weights) << " copies a step, for three rollouts");
  CHECK(bytes / steps / weights < 1.5);
  CHECK(bytes / steps / weights > 0.7);
  CHECK(says(running, "large ones mapped from"));
  stop(running);
  node.signal(SIGINT);
  CHECK(node.wait(10).status == 0);
}

TEST_CASE("tensors between hosts are encrypted where the run says so") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = endless});
  running_command node(s.node());
  REQUIRE(comes_to_say(node, "listening on 10.99.0.2:7000"));
  running_command running(s.start({"--set", "placement.encrypt=true"}));
  REQUIRE(s.trains_on(running, 5));
  CHECK(comes_to_say(running, "tensors come over tcp/cable, encrypted from"));
  stop(running);
}

TEST_CASE("hosts find each other under IPv6 addresses, control messages and tensors alike") {
  if (!can_have_two_hosts() || !two_hosts::has_v6())
    return;
  const scene s({.steps = 8});
  const std::string name = "[fd99::2]:7000";
  running_command node(s.node("secret", name));
  REQUIRE(comes_to_say(node, "listening on " + name));
  const auto before = s.hosts.bytes_on_cable();
  const auto done = run_to_end(s.start({"--set", "placement.rollout.hosts=[\"" + name + "\"]"}));
  CAPTURE(done.err);
  CAPTURE(node.err());
  CHECK(done.status == 0);
  check_each_group_once(s.run.files(), 8);
  CHECK(s.hosts.bytes_on_cable() - before > 8 * std::filesystem::file_size(tiny_model() / "model.safetensors") / 2);
}

TEST_CASE(
    "a policy on another host keeps checkpoints on a folder that both share; without one the run says so at once") {
  if (!can_have_two_hosts())
    return;
  const std::vector<std::string> alone,
      ranks{"--set", "placement.learner.processes=2", "--set", "placement.learner.shard=optimizer"};
  for (const auto& [shared, more] : {std::pair(true, alone), {false, alone}, {true, ranks}, {false, ranks}}) {
    CAPTURE(shared);
    CAPTURE(more.size());
    const scene s({.steps = 4, .run = "checkpoint_every = 2\n"});
    auto command = s.node();
    if (!shared) { // `ip netns exec` gives the far host mounts of its own
      const auto folder = s.run.files().folder().parent_path().string();
      const auto exec = std::find(command.begin(), command.end(), program().string());
      command.insert(exec, {"/bin/sh", "-c", "mount -t tmpfs none \"$0\" && exec \"$@\"", folder});
    }
    running_command node(command);
    REQUIRE(comes_to_say(node, "listening on"));
    std::vector<std::string> options{"--set", "placement.learner.hosts=[\"10.99.0.2:7000\"]"};
    options.insert(options.end(), more.begin(), more.end());
    const auto done = run_to_end(s.start(options));
    CAPTURE(done.err);
    if (shared) {
      CHECK(done.status == 0);
      CHECK(std::filesystem::exists(s.run.files().folder() / "checkpoints/step-000004/model/model.safetensors"));
    } else {
      CHECK(done.status == 1);
      CHECK(s.run.files().steps() == 0);
      CHECK(done.err.find(" on 10.99.0.2:7000 does not see the run's checkpoints in") != std::string::npos);
      CHECK(done.err.find("want --output on a file system that both hosts share") != std::string::npos);
    }
  }
}

TEST_CASE("the ports that are set are those that are listened on") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = endless});
  running_command node(s.node());
  REQUIRE(comes_to_say(node, "listening on"));
  running_command running(s.start({"--set", "placement.port=7300", "--set", "placement.data_ports=[7400, 7409]"}));
  REQUIRE(s.trains_on(running, 2));
  const auto is_data = [](const std::string& where) { return where.find(":740") != std::string::npos; };
  const auto near = listeners_beside(running.pid()), far = listeners_beside(node.pid());
  CHECK(std::count(near.begin(), near.end(), "10.99.0.1:7300") == 1);
  CHECK(std::count_if(near.begin(), near.end(), is_data) == 1);
  CHECK(near.size() == 2);
  CHECK(std::count(far.begin(), far.end(), scene::node_name) == 1);
  CHECK(std::count_if(far.begin(), far.end(), is_data) == 1);
  CHECK(far.size() == 2);
  stop(running);
}

TEST_CASE("a run without hosts listens on loopback alone") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = endless});
  auto sets = placed_apart(false);
  running_command running(s.hosts.near(s.run.start(sets)));
  REQUIRE(s.trains_on(running, 3));
  const auto listeners = listeners_beside(running.pid());
  CHECK(listeners.size() >= 2); // the coordinator's, and each process's data plane
  for (const auto& address : listeners)
    CHECK(address.substr(0, 4) == "127.");
  stop(running);
}

TEST_CASE("a run with hosts listens on their network only where the secret or the run's key is asked for") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = endless});
  running_command node(s.node());
  REQUIRE(comes_to_say(node, "listening on"));
  running_command running(s.start());
  REQUIRE(s.trains_on(running, 3));
  auto listeners = listeners_beside(running.pid());
  CHECK(std::none_of(listeners.begin(), listeners.end(), [](const auto& a) { return a.starts_with("0.0.0.0"); }));
  std::erase_if(listeners, [](const auto& a) { return a.starts_with("127."); });
  CHECK(listeners.size() == 2); // the coordinator over TLS, the data plane with the run's key
  for (const auto& address : listeners) {
    CAPTURE(address);
    const auto refused = run_to_end(s.hosts.far(command_line({"worker", "--connect", address, "--role", "rollout",
                                                              "--index", "0", "--incarnation", "1"})),
                                    20);
    CHECK(refused.status == 1);
  }
  CHECK(s.trains_on(running, 3));
  CHECK(!says(running, "is gone"));
  stop(running);
}

TEST_CASE("who does not hold the node's secret is refused in one line, and the node serves on") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = 4});
  running_command node(s.node());
  REQUIRE(comes_to_say(node, "listening on"));

  SUBCASE("a run with another secret") {
    const auto refused = run_to_end(s.start({}, "other"));
    CHECK(refused.status == 1);
    CHECK(refused.err.starts_with("millrace: node 10.99.0.2:7000: refused the connection"));
    CHECK(std::count(refused.err.begin(), refused.err.end(), '\n') == 1);
  }
  SUBCASE("a process with a key of its own, without TLS") {
    auto command = command_line(
        {"worker", "--connect", scene::node_name, "--role", "rollout", "--index", "0", "--incarnation", "1"});
    command.insert(command.begin(), {"/usr/bin/env", "MILLRACE_KEY=" + std::string(64, '7')});
    const auto refused = run_to_end(s.hosts.near(command));
    CHECK(refused.status == 1);
    CHECK(refused.err.starts_with("millrace: no run at 10.99.0.2:7000"));
    CHECK(std::count(refused.err.begin(), refused.err.end(), '\n') == 1);
  }
  CHECK(!says(node, "started"));
  CHECK(comes_to_say(node, "turned away 10.99.0.1:"));
  const tiny_run another({.steps = 2});
  const auto served =
      run_to_end(s.hosts.near(another.start({"--set", "placement.rollout.hosts=[\"10.99.0.2:7000\"]", "--set",
                                             "placement.secret_file=" + (s.folder / "secret").string()})));
  CAPTURE(served.err);
  CHECK(served.status == 0);
}

TEST_CASE("a node that is not there, a port in use, a secret that others can read: one line each") {
  if (!can_have_two_hosts())
    return;
  const scene s;
  const auto nobody = run_to_end(s.start({"--set", "placement.connect_timeout_s=0"}));
  CHECK(nobody.status == 1);
  CHECK(nobody.err.starts_with("millrace: node 10.99.0.2:7000: nobody listens there"));
  CHECK(std::count(nobody.err.begin(), nobody.err.end(), '\n') == 1);

  running_command node(s.node());
  REQUIRE(comes_to_say(node, "listening on"));
  const auto second = run_to_end(s.node());
  CHECK(second.status == 1);
  CHECK(second.err.starts_with("millrace: cannot listen on 10.99.0.2:7000"));

  chmod((s.folder / "other").c_str(), 0644);
  const auto readable = run_to_end(s.node("other"));
  CHECK(readable.status == 1);
  CHECK(readable.err.find("want a secret that others cannot read") != std::string::npos);
}

TEST_CASE("a model that one host cannot read ends the run before anything starts, and the run's folder says so") {
  if (!can_have_two_hosts())
    return;
  const temporary_folder models;
  const auto path = models / "tiny";
  std::filesystem::copy(tiny_model(), path);
  const std::string missing =
      "the run's resolved.toml:26:8: models.tiny.path: found nothing there at \"" + path.string();
  for (const auto& [what, made_there, why] :
       {std::tuple("no such folder", "", missing),
        {"no weights", "mkdir \"$0/tiny\" && cp tests/golden/models/tiny-chat/*.json \"$0/tiny\" && ",
         path.string()}}) {
    CAPTURE(what);
    const scene s({.steps = 4, .model = path});
    auto command = s.node();
    // `ip netns exec` gives the far host mounts of its own
    const auto there = std::string("mount -t tmpfs none \"$0\" && ") + made_there + "exec \"$@\"";
    command.insert(std::find(command.begin(), command.end(), program().string()),
                   {"/bin/sh", "-c", there, models.path().string()});
    running_command node(command);
    REQUIRE(comes_to_say(node, "listening on"));
    const auto failed = run_to_end(s.start());
    CAPTURE(failed.err);
    CHECK(failed.status == 1);
    const auto line = "rollout cannot read its model on 10.99.0.2:7000: " + why;
    CHECK(failed.err.starts_with("millrace: " + line));
    CHECK(std::count(failed.err.begin(), failed.err.end(), '\n') == 1);
    CHECK(s.run.files().log().find(line) != std::string::npos);
    CHECK(s.run.files().log().find("started as process") == std::string::npos);
    CHECK(s.run.files().status().at("state") == "failed");
    CHECK(!says(node, "started")); // no process
    CHECK(!node.ended());
  }
}

TEST_CASE("a node gives each process the GPU that the placement gives it, and refuses one that it does not have") {
  if (!can_have_two_hosts())
    return;
  const scene s({.steps = endless});
  const strings two_with_gpus{
      "--set", "run.device=auto", "--set", "placement.rollout.processes=2", "--set", "placement.rollout.gpus=[1, 0]"};
  for (const std::string there : {"7,8", "7"}) {
    CAPTURE(there);
    auto command = s.node();
    command.insert(std::find(command.begin(), command.end(), program().string()),
                   {"/usr/bin/env", "CUDA_VISIBLE_DEVICES=" + there});
    running_command node(command);
    REQUIRE(comes_to_say(node, "listening on"));
    running_command running(s.start(two_with_gpus));
    if (there == "7,8") {
      REQUIRE(s.trains_on(running, 2));
      for (const auto& [who, gpu] : {std::pair("rollout/0", "8"), {"rollout/1", "7"}})
        CHECK(environment_of(s.run.files().process_of(who), "CUDA_VISIBLE_DEVICES") == gpu);
      stop(running);
    } else {
      CHECK(running.wait(20).status == 1);
      CHECK(says(running, "--set placement.rollout.gpus=[1, 0]: placement.rollout.gpus: rollout/0 could not be started "
                          "on 10.99.0.2:7000: found 1 GPU, want 2: each process has one"));
    }
    node.signal(SIGINT);
    CHECK(node.wait(10).status == 0);
    std::filesystem::remove_all(s.run.files().folder());
  }
}

namespace {

/// A run whose policy is on the far host, behind ports of which each host has just as many as it needs.
strings policy_far_away() {
  return {"--set", "placement.learner.hosts=[\"10.99.0.2:7000\"]",
          "--set", "placement.rollout.hosts=[]",
          "--set", "placement.rollout.processes=0",
          "--set", "placement.port=7300",
          "--set", "placement.data_ports=[7400, 7400]",
          "--set", "roles.learner.threads=1"};
}

strings curve_of_one_process(const tiny_pipeline& pipeline) {
  const tiny_run run(pipeline);
  REQUIRE(run_to_end(run.start({"--set", "roles.learner.threads=1"})).status == 0);
  return run.files().learning_curve();
}

} // namespace

TEST_CASE("a policy on another host dies, twice: the run goes on from its last checkpoint, on the same ports") {
  if (!can_have_two_hosts())
    return;
  const tiny_pipeline pipeline{.steps = 60, .run = "checkpoint_every = 4\n"};
  const scene s(pipeline);
  running_command node(s.node());
  REQUIRE(comes_to_say(node, "listening on"));
  running_command running(s.start(policy_far_away()));
  pid_t before = 0;
  for (const std::size_t step : {6U, 25U}) {
    CAPTURE(running.err());
    REQUIRE(wait_until([&] { return running.ended() || s.run.files().process_of("learner/0") != before; }));
    REQUIRE(reaches(running, s.run.files(), step));
    before = s.run.files().process_of("learner/0");
    REQUIRE(kill(before, SIGKILL) == 0);
  }
  const auto end = running.wait(60);
  CAPTURE(running.err());
  REQUIRE(end.status == 0);
  CHECK(says(running, "learner/0 is gone ("));
  CHECK(says(running, "): the run goes on from the checkpoint of step "));
  CHECK(s.run.files().learning_curve() == curve_of_one_process(pipeline));
  check_each_group_once(s.run.files(), 60);
  CHECK(!node.ended());
}

TEST_CASE("the node with the policy is killed and started again: the run goes on from its last checkpoint") {
  if (!can_have_two_hosts())
    return;
  const tiny_pipeline pipeline{.steps = 40, .run = "checkpoint_every = 4\n"};
  const scene s(pipeline);
  auto node = std::make_unique<running_command>(s.node());
  REQUIRE(comes_to_say(*node, "listening on"));
  running_command running(s.start(policy_far_away()));
  REQUIRE(reaches(running, s.run.files(), 6));
  REQUIRE(kill(node->pid(), SIGKILL) == 0);
  node->wait();
  CHECK(comes_to_say(running, "): the run goes on from the checkpoint of step "));
  node = std::make_unique<running_command>(s.node());
  const auto end = running.wait(60);
  CAPTURE(running.err());
  REQUIRE(end.status == 0);
  CHECK(s.run.files().learning_curve() == curve_of_one_process(pipeline));
}

TEST_CASE("the cable to the policy is cut and plugged in again: the run goes on from its last checkpoint") {
  if (!can_have_two_hosts())
    return;
  const tiny_pipeline pipeline{.steps = 60, .run = "checkpoint_every = 4\n"};
  const scene s(pipeline);
  running_command node(s.node());
  REQUIRE(comes_to_say(node, "listening on"));
  running_command running(s.start(policy_far_away()));
  REQUIRE(reaches(running, s.run.files(), 6));
  const auto cut_off = s.run.files().process_of("learner/0");
  s.hosts.connect(false);
  CHECK(comes_to_say(running, "): the run goes on from the checkpoint of step ", 30));
  CHECK(wait_until([&] { return !is_running(cut_off); }, 10)); // no orphan works on
  s.hosts.connect(true);
  const auto end = running.wait(60);
  CAPTURE(running.err());
  REQUIRE(end.status == 0);
  CHECK(s.run.files().learning_curve() == curve_of_one_process(pipeline));
}

} // namespace node_test
