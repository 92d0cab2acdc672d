#include "tests/support/tcp_sockets.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <set>

namespace traffic_test {

using namespace millrace::tests;

namespace {

/// The sockets that a process holds.
std::set<std::uint32_t> sockets_of(pid_t pid) {
  std::set<std::uint32_t> inodes;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", ignored)) {
    const auto target = std::filesystem::read_symlink(entry.path(), ignored).string();
    if (target.starts_with("socket:["))
      inodes.insert(static_cast<std::uint32_t>(std::stoul(target.substr(8))));
  }
  return inodes;
}

/// The port of the coordinator's actor system, from the command line of a process that connects to it.
std::uint16_t actor_port(pid_t worker) {
  const auto line = read_file("/proc/" + std::to_string(worker) + "/cmdline");
  const auto at = line.find("127.0.0.1:");
  return at == std::string::npos ? 0 : static_cast<std::uint16_t>(std::stoul(line.substr(at + 10)));
}

/// Bytes that the sockets of a run's processes have received.
struct traffic {
  std::uint64_t actors = 0;
  std::uint64_t tensors = 0;
};

/// What the log and the status say of the way from the learner to a rollout.
void check_lanes(const tiny_run& run, const std::filesystem::path& model, const std::string& said,
                 const std::string& transport) {
  const std::string lane = transport == "tcp" ? "tcp/lo" : "tcp/lo, large ones mapped";
  const auto line = "tensors come over " + lane + " from";
  std::size_t told = 0;
  for (auto at = said.find("rollout/0"); at != std::string::npos; at = said.find("rollout/0", at + 1))
    told += said.substr(at, said.find('\n', at) - at).find(line) != std::string::npos;
  CHECK(told == 1);
  const auto weights = std::filesystem::file_size(model / "model.safetensors");
  bool found = false;
  const auto status = run.files().status();
  for (const auto& one : status.at("lanes"))
    if (one.at("to") == "rollout/0" && one.at("from") == "learner/0") {
      found = true;
      CHECK(one.at("lane") == lane);
      CHECK(one.at("bytes_pulled").get<std::uint64_t>() > 10 * weights);
      CHECK((one.at("bytes_mapped").get<std::uint64_t>() > 10 * weights) == (transport != "tcp"));
    }
  CHECK_MESSAGE(found, status.at("lanes").dump());
}

/// The traffic of twelve steps in five processes. @returns nothing where this kernel does not tell
std::optional<traffic> traffic_of(const std::filesystem::path& model, const std::string& transport) {
  const tiny_run run({.steps = 12, .reference = true, .model = model});
  auto sets = placed_apart(true);
  sets.insert(sets.end(), {"--set", "placement.transport=" + transport});
  running_command running(run.start(sets));

  std::map<std::uint32_t, tcp_socket> seen; // by inode: as last looked at
  std::set<std::uint32_t> ours;
  std::uint16_t port = 0;
  const auto look = [&] {
    for (const auto* instance : {"rollout/0", "rollout/1", "rules/0", "frozen/0", "learner/0"}) {
      const auto pid = run.files().process_of(instance);
      ours.merge(sockets_of(pid));
      if (port == 0 && pid > 0)
        port = actor_port(pid);
    }
    ours.merge(sockets_of(running.pid()));
    for (const auto& socket : connected_tcp_sockets())
      if (ours.contains(socket.inode))
        seen[socket.inode] = socket;
    return running.ended().has_value();
  };
  REQUIRE(wait_until(look, 60));
  CAPTURE(running.err());
  REQUIRE(running.ended()->status == 0);
  check_lanes(run, model, running.err(), transport);
  if (seen.empty()) {
    MESSAGE("SKIPPED: this kernel has no inet_diag: nothing tells how many bytes a socket carried");
    return std::nullopt;
  }
  REQUIRE(port != 0);
  traffic found;
  for (const auto& [inode, socket] : seen)
    (socket.local_port == port || socket.remote_port == port ? found.actors : found.tensors) += socket.bytes_received;
  return found;
}

} // namespace

TEST_CASE("actors' sockets carry under 1 % of the bytes of a run in five processes; tensors go over UCX") {
  const temporary_folder models;
  write_wide_model(models / "wide");
  const auto found = traffic_of(models / "wide", "tcp");
  if (!found)
    return;
  const double share = static_cast<double>(found->actors) / static_cast<double>(found->actors + found->tensors);
  MESSAGE("actors' sockets received " << found->actors << ", the data plane's " << found->tensors << ": " << 100 * share
                                      << " %");
  const std::uint64_t weights = std::filesystem::file_size(models / "wide" / "model.safetensors");
  CHECK(found->tensors > 2 * 11 * weights); // each of 11 versions to each of two rollouts
  CHECK(found->actors > 0);
  CHECK(share < 0.01);
}

TEST_CASE("processes of one host read weights in place: no socket carries them") {
  const temporary_folder models;
  write_wide_model(models / "wide");
  const std::uint64_t weights = std::filesystem::file_size(models / "wide" / "model.safetensors");
  for (const std::string transport : {"auto", "shm"})
    if (const auto found = traffic_of(models / "wide", transport)) {
      MESSAGE(transport << ": the data plane's sockets received " << found->tensors);
      CHECK(found->tensors > 0);
      CHECK(found->tensors < weights / 4); // of 22 times the weights
    }
}

} // namespace traffic_test
