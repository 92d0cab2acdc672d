#pragma once

#include "tests/support/running_command.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::tests {

/// Two network namespaces that a virtual cable joins, as two hosts would be: `near()` is 10.99.0.1, `far()`
/// is 10.99.0.2, each with a loopback of its own. Nothing else can be reached from them. Removed with this object.
class two_hosts {
public:
  /// Whether this machine lets us make namespaces (root, and a kernel that has them).
  static bool possible();

  two_hosts(); ///< @throws std::runtime_error where `possible()` is false
  ~two_hosts();
  two_hosts(const two_hosts&) = delete;
  two_hosts& operator=(const two_hosts&) = delete;

  static constexpr const char* near_address = "10.99.0.1";
  static constexpr const char* far_address = "10.99.0.2";
  static constexpr const char* near_v6 = "fd99::1"; ///< where this machine has IPv6
  static constexpr const char* far_v6 = "fd99::2";

  /// Whether this machine has IPv6.
  static bool has_v6();

  /// A command line that runs `command` (an absolute path first) on one of them.
  std::vector<std::string> near(const std::vector<std::string>& command) const { return on(near_, command); }

  std::vector<std::string> far(const std::vector<std::string>& command) const { return on(far_, command); }

  /// Lets both know each other by these names, as /etc/hosts does.
  void name(const std::string& near, const std::string& far) const;

  /// The near host's end of the cable.
  std::string interface() const { return "cable"; }

  /// What has gone through the cable so far, in both directions together.
  std::uint64_t bytes_on_cable() const;
  /// Pulls the cable out and plugs it in again.
  void connect(bool connected) const;

private:
  std::vector<std::string> on(const std::string& name, const std::vector<std::string>& command) const;

  std::string near_, far_; ///< names of the namespaces
};

/// The TCP addresses, `127.0.0.1:7000`, that the namespace of process `pid` listens on.
std::vector<std::string> listeners_beside(pid_t pid);

/// The processes that live in the network namespace of process `pid`, itself among them.
std::vector<pid_t> processes_beside(pid_t pid);

/// Whether a test can have `two_hosts`. If not, it says aloud that it is skipped.
bool can_have_two_hosts();

} // namespace millrace::tests
