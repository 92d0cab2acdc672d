#pragma once

#include "runtime/words/limits.hpp"

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

  bool operator==(const role_placement&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("processes", s.processes, between(0, 256),
      "processes of the role; 0 = in the run's own process, or one on each of `hosts`");
    v("hosts", s.hosts, any(), "HOST:PORT of the `millrace node`s that start them, in turn; empty = this host");
  }
};

/// `[placement]`: where roles run. A role that is not named runs in the run's own process.
struct placement_table {
  std::string transport = "auto";
  std::filesystem::path secret_file;
  double connect_timeout_s = 30;
  std::map<std::string, role_placement> roles;

  bool operator==(const placement_table&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("transport", s.transport, one_of({"auto", "tcp", "shm"}), "how tensors travel between processes");
    v("secret_file", s.secret_file, any(), "file with the secret shared with the nodes; needed with `hosts`");
    v("connect_timeout_s", s.connect_timeout_s, between(0, 86400),
      "seconds that a run waits at its start for nodes that nobody has started yet");
    v.entries(s.roles, "where a role runs");
  }
};

} // namespace millrace::pipeline
