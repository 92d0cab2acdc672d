#pragma once

#include "runtime/words/limits.hpp"
#include "runtime/words/sharding.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// `ROLE = { processes = 2, hosts = ["10.0.0.2:7000"] }` of `[placement]`.
struct role_placement {
  std::int64_t processes = 0;
  std::vector<std::string> hosts;
  sharding shard = sharding::none;

  /// Where process `index` of the role runs: hosts in turn; "" is this host.
  std::string host_of(std::int64_t index) const {
    return hosts.empty() ? std::string() : hosts[static_cast<std::size_t>(index) % hosts.size()];
  }

  bool operator==(const role_placement&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("processes", s.processes, between(0, 256),
      "processes of the role; of a policy or a critic: ranks that train as one; 0 = in the run's own process, or one "
      "on each of `hosts`");
    v("hosts", s.hosts, any(), "HOST:PORT of the `millrace node`s that start them, in turn; empty = this host");
    v("shard", s.shard, any(),
      "what ranks share out: none = each has everything; optimizer = the moments; full = weights, gradients and "
      "moments");
  }
};

/// `[placement]`: where roles run. A role that is not named runs in the run's own process.
struct placement_table {
  std::string transport = "auto";
  std::filesystem::path secret_file;
  double connect_timeout_s = 30;
  std::int64_t port = 0;
  std::vector<std::int64_t> data_ports;
  std::map<std::string, role_placement> roles;

  bool operator==(const placement_table&) const = default;

  /// First and last; 0 and 0 for any.
  std::array<std::uint16_t, 2> data_port_range() const {
    if (data_ports.empty())
      return {};
    return {static_cast<std::uint16_t>(data_ports.front()), static_cast<std::uint16_t>(data_ports.back())};
  }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("transport", s.transport, one_of({"auto", "rdma", "shm", "tcp"}),
      "how tensors travel between processes: auto = large ones are mapped within a host, the others go over RDMA or "
      "TCP; "
      "rdma = without TCP; shm = a pull that cannot be mapped fails; tcp = nothing is mapped");
    v("secret_file", s.secret_file, any(), "file with the secret shared with the nodes; needed with `hosts`");
    v("connect_timeout_s", s.connect_timeout_s, between(0, 86400),
      "seconds that a run waits at its start for nodes that nobody has started yet");
    v("port", s.port, between(0, 65535), "where processes of other hosts find the run; 0 = any port that is free");
    v("data_ports", s.data_ports, between(1, 65535),
      "first and last port of the processes' data planes, one each, and of ranks, one each; empty = any that are free");
    v.entries(s.roles, "where a role runs");
  }
};

} // namespace millrace::pipeline
