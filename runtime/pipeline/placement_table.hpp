#pragma once

#include "runtime/pipeline/one_or_more.hpp"
#include "runtime/words/limits.hpp"
#include "runtime/words/rank_wire.hpp"
#include "runtime/words/sharding.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::pipeline {

/// Which GPUs of a host the processes of a role have, one each: `gpus = "all"` or `gpus = [0, 1]`.
struct gpu_choice {
  bool all = false;                  ///< those that no list names on that host
  std::vector<std::int64_t> numbers; ///< in this order; empty and not `all`: no GPU of their own

  bool none() const { return !all && numbers.empty(); }

  bool operator==(const gpu_choice&) const = default;
};

/// How the processes of a role are dealt out to its hosts.
enum class host_spread : std::uint8_t {
  hosts,  ///< one to each host in turn
  blocks, ///< neighbours go to the same host, as many to each
};

constexpr auto words_for(host_spread) {
  return std::to_array<std::string_view>({"hosts", "blocks"});
}

/// `ROLE = { processes = 2, hosts = ["10.0.0.2:7000"] }` of `[placement]`.
struct role_placement {
  std::int64_t processes = 0;
  one_or_more hosts;
  host_spread spread = host_spread::hosts;
  gpu_choice gpus;
  sharding shard = sharding::none;
  rank_wire collective = rank_wire::automatic;

  /// `hosts = "any"`: every host of the run.
  bool on_any_host() const { return hosts.texts == std::vector<std::string>{"any"}; }

  bool operator==(const role_placement&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("processes", s.processes, between(0, 256),
      "processes of the role; of a policy or a critic: ranks that train as one; 0 = in the run's own process, or one "
      "on each of `hosts`");
    v("hosts", s.hosts, any(),
      "HOST:PORT of the `millrace node`s that start them; any = this host and placement.nodes; empty = this host");
    v("spread", s.spread, any(),
      "how processes go to hosts: hosts = one to each in turn; blocks = neighbours to the same one");
    v("gpus", s.gpus, between(0, 1023),
      "GPUs of a host that the role's processes there have, one each; all = those that no list names there; empty = "
      "each sees every GPU");
    v("shard", s.shard, any(),
      "what ranks share out: none = each has everything; optimizer = the moments; full = weights, gradients and "
      "moments");
    v("collective", s.collective, any(),
      "how ranks exchange gradients and weights: auto = NCCL where each has a GPU of its own, else Gloo; gloo = over "
      "TCP, through the hosts' memory; nccl = from GPU to GPU, or not at all");
  }
};

/// `[placement]`: where roles run. A role that is not named runs in the run's own process.
struct placement_table {
  std::string transport = "auto";
  bool encrypt = false;
  std::filesystem::path secret_file;
  double connect_timeout_s = 30;
  std::int64_t port = 0;
  std::vector<std::int64_t> data_ports;
  std::vector<std::string> nodes;
  std::map<std::string, role_placement> roles;

  bool operator==(const placement_table&) const = default;

  /// First and last; 0 and 0 for any.
  std::array<std::uint16_t, 2> data_port_range() const {
    if (data_ports.empty())
      return {};
    return {static_cast<std::uint16_t>(data_ports.front()), static_cast<std::uint16_t>(data_ports.back())};
  }

  /// The hosts that the processes of a role go to: names of nodes; "" is this host.
  std::vector<std::string> hosts_of(const role_placement& placed) const {
    std::vector<std::string> hosts{""};
    if (placed.on_any_host())
      hosts.insert(hosts.end(), nodes.begin(), nodes.end());
    else if (!placed.hosts.texts.empty())
      hosts = placed.hosts.texts;
    return hosts;
  }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("transport", s.transport, one_of({"auto", "rdma", "shm", "tcp"}),
      "how tensors travel between processes: auto = large ones are mapped within a host, the others go over RDMA or "
      "TCP; "
      "rdma = without TCP; shm = a pull that cannot be mapped fails; tcp = nothing is mapped");
    v("encrypt", s.encrypt, any(),
      "tensors that are copied between processes are encrypted (AES-256-GCM, with the run's key); memory that is "
      "mapped "
      "within a host is not");
    v("secret_file", s.secret_file, any(), "file with the secret shared with the nodes; needed with `hosts`");
    v("connect_timeout_s", s.connect_timeout_s, between(0, 86400),
      "seconds that a run waits at its start for nodes that nobody has started yet");
    v("port", s.port, between(0, 65535), "where processes of other hosts find the run; 0 = any port that is free");
    v("data_ports", s.data_ports, between(1, 65535),
      "first and last port of the processes' data planes, one each, and of ranks, one each; empty = any that are free");
    v("nodes", s.nodes, any(),
      "HOST:PORT of the `millrace node`s of the run's further hosts, for roles with hosts = any; launchers fill it in");
    v.entries(s.roles, "where a role runs");
  }
};

} // namespace millrace::pipeline
