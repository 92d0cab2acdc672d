#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

namespace placement_test {

using namespace millrace::test;
using lines = std::vector<std::string>;

TEST_CASE("ports of data planes are a first and a last one") {
  for (const char* wrong : {"[7100]", "[7199, 7100]", "[1, 2, 3]"}) {
    CAPTURE(wrong);
    CHECK(errors_of(valid + "[placement]\ndata_ports = " + wrong + "\n")
          == lines{"p.toml:33:14: placement.data_ports: want the first and the last port, such as [7100, 7199]"});
  }
  CHECK(errors_of(valid + "[placement]\ndata_ports = [7100, 7199]\nport = 7000\n").empty());
  // The run's own process, one of the rollout, and two ranks with two ports each.
  const std::string few = "placement.data_ports: found 5 ports, want 6 for this host: one for each process, and one "
                          "more for each rank";
  const std::string roles = "rollout = { processes = 1 }\nlearner = { processes = 2 }\n";
  CHECK(errors_of(valid + "[placement]\ndata_ports = [7100, 7104]\n" + roles) == lines{"p.toml:33:14: " + few});
  CHECK(errors_of(valid + "[placement]\ndata_ports = [7100, 7105]\n" + roles).empty());
}

TEST_CASE("placement names roles, counts and addresses") {
  CHECK(errors_of(valid
                  + "[placement]\nrollot = { processes = 2 }\nprompts = { processes = 2 }\nrules = { hosts = "
                    "[\"nohost\"] }\ntransprt = \"tcp\"\n")
        == lines{
            R"(p.toml:33:1: placement: no role "rollot", did you mean "rollout"?)",
            R"(p.toml:34:25: placement.prompts.processes: found 2 processes, want 1: a role of kind "source" is one)",
            "p.toml:35:19: placement.rules.hosts: found hosts without placement.secret_file, want the file with the "
            "nodes' secret",
            R"(p.toml:35:20: placement.rules.hosts: found "nohost", want "any" or ADDRESS:PORT of `millrace node`s)",
            R"(p.toml:36:1: unknown key "transprt" in [placement], did you mean "transport"?)"});
  for (const std::string shard : {"none", "optimizer", "full"})
    CHECK(errors_of(valid + "[placement]\nlearner = { processes = 2, shard = \"" + shard + "\" }\n").empty());
  CHECK(
      errors_of(valid + "[placement]\nlearner = { processes = 2, shard = \"full\" }\n[roles.learner.lora]\nrank = 4\n")
      == lines{R"(p.toml:33:36: placement.learner.shard: found "full" with roles.learner.lora, whose adapters alone )"
               R"(are trained, want "none" or "optimizer")"});
  for (const std::string wire : {"auto", "gloo", "nccl"})
    CHECK(errors_of(valid + "[placement]\nlearner = { processes = 2, collective = \"" + wire + "\" }\n").empty());
  CHECK(errors_of(valid + "[placement]\nrules = { collective = \"gloo\" }\n")
        == lines{R"(p.toml:33:24: placement.rules.collective: found "gloo" of a role of kind "rule_verifier", )"
                 "want it of a policy or a critic"});
  CHECK(errors_of(valid + "[placement]\nlearner = { collective = \"nccl\" }\n", {"run.device=cpu"})
        == lines{R"(p.toml:33:26: placement.learner.collective: found "nccl" with run.device = "cpu", )"
                 R"(want "cuda" or "auto" there)"});
  CHECK(errors_of(valid + "[placement]\nrules = { processes = 2, shard = \"optimizer\" }\n")
        == lines{R"(p.toml:33:34: placement.rules.shard: found "optimizer" of a role of kind "rule_verifier", )"
                 "want it of a policy or a critic"});
  CHECK(errors_of(valid
                  + "[placement]\nsecret_file = \"secret\"\ntransport = \"shm\"\nrollout = { processes = 1, hosts = "
                    "[\"a:1\", \"[::1]:2\"] }\n")
        == lines{R"(p.toml:34:13: placement.transport: found "shm" with roles on other hosts, want another one)",
                 "p.toml:35:25: placement.rollout.processes: found 1 with 2 hosts, want at least one for each"});
  const auto p = parsed(valid
                        + "[placement]\nsecret_file = \"secret\"\nrollout = { hosts = [\"10.0.0.2:7000\", \"b:2\"] "
                          "}\nrules = { processes = 3 }\n");
  CHECK(p.processes_of("rollout") == 2);
  CHECK(p.processes_of("rules") == 3);
  CHECK(p.processes_of("learner") == 0);
}

TEST_CASE("placement gives GPUs to processes that are there, and nodes to roles that may be anywhere") {
  const auto with = [](const std::string& placed) { return valid + "[placement]\n" + placed + "\n"; };
  CHECK(errors_of(with("rollout = { processes = 2, gpus = \"all\" }")).empty());
  CHECK(errors_of(with("rollout = { processes = 2, gpus = [0, 3] }")).empty());
  CHECK(errors_of(with("rollout = { hosts = \"any\", spread = \"blocks\" }")).empty());
  CHECK(errors_of(with("nodes = [\"a:1\", \"b\"]\nsecret_file = \"secret\"\nrollout = { hosts = \"any\" }"))
        == lines{R"(p.toml:33:17: placement.nodes: found "b", want ADDRESS:PORT of a `millrace node`)"});
  CHECK(errors_of(with("nodes = [\"a:1\"]\nrollout = { hosts = \"any\" }"))
        == lines{"p.toml:34:21: placement.rollout.hosts: found hosts without placement.secret_file, want the file with "
                 "the nodes' secret"});
  CHECK(errors_of(with("rollout = { processes = 2, gpus = [1] }"))
        == lines{"p.toml:33:35: placement.rollout.gpus: found 1 GPU, want 2, one for each process on this host"});
  CHECK(errors_of(with("rollout = { gpus = [1] }"))
        == lines{"p.toml:33:20: placement.rollout.gpus: found GPUs of a role in the run's own process, want "
                 "placement.rollout.processes above 0"});
  CHECK(errors_of(with("rollout = { processes = 1, gpus = \"some\" }")).front().find("want \"all\" or a list of")
        != std::string::npos);
  const auto cpu = changed(with("rollout = { processes = 1, gpus = \"all\" }"), "[run]\n", "[run]\ndevice = \"cpu\"\n");
  CHECK(errors_of(cpu)
        == lines{"p.toml:34:35: placement.rollout.gpus: found GPUs with run.device = \"cpu\", want \"cuda\" or "
                 "\"auto\" there"});
}

TEST_CASE("a role has the run's device or its own, of words that name one") {
  using millrace::pipeline::device_key;
  using millrace::pipeline::device_of;
  const auto with = [](const std::string& device, const std::string& placed = "") {
    return changed(valid, "[roles.rollout]\n", "[roles.rollout]\ndevice = \"" + device + "\"\n") + placed;
  };
  for (const auto* word : {"auto", "cpu", "cuda", "cuda:0", "cuda:17"}) {
    CAPTURE(word);
    const auto p = parsed(with(word));
    CHECK(device_of(p, p.at("rollout")) == word);
    CHECK(device_key(p.at("rollout")) == "roles.rollout.device");
    CHECK(device_of(p, p.policy()) == "auto");
    CHECK(device_key(p.policy()) == "run.device");
    CHECK(millrace::pipeline::parse_pipeline(resolved_toml(p), "resolved.toml", "/", {}, words()) == p);
  }
  for (const auto* word : {"gpu", "cuda:", "cuda:-1", "cuda:01", "cuda:1x", "cuda:1000", "cuda 1", "CPU"}) {
    CAPTURE(word);
    const auto found = errors_of(with(word));
    REQUIRE(found.size() == 1);
    CHECK(found[0].find("roles.rollout.device: found \"" + std::string(word)
                        + "\", want \"auto\", \"cpu\", \"cuda\" or \"cuda:N\" with the number of a GPU")
          != std::string::npos);
  }
  const std::string placed = "[placement]\nrollout = { processes = 1, gpus = \"all\" }\n";
  CHECK(errors_of(with("cuda", placed)).empty());
  for (const auto* word : {"cpu", "cuda:1"})
    CHECK(errors_of(with(word, placed))
              .at(0)
              .find("placement.rollout.gpus: found GPUs with roles.rollout.device = \"" + std::string(word)
                    + "\", want \"cuda\" or \"auto\" there")
          != std::string::npos);
}

TEST_CASE("GPUs, spread and nodes are read back from the resolved file as they were") {
  const auto p =
      parsed(valid
             + "[placement]\nsecret_file = \"secret\"\nnodes = [\"a:1\"]\nrollout = { processes = 2, hosts = "
               "\"any\", gpus = \"all\", spread = \"blocks\" }\nlearner = { processes = 1, gpus = [3] }\n");
  const auto again = millrace::pipeline::parse_pipeline(resolved_toml(p), "resolved.toml", "/", {}, words());
  CHECK(again.placement == p.placement);
  CHECK(again.placement.roles.at("rollout").gpus.all);
  CHECK(again.placement.roles.at("learner").gpus.numbers == std::vector<std::int64_t>{3});
  CHECK(place_of(p, p.at("rollout")) == "2 processes on this host, a:1");
}

} // namespace placement_test
