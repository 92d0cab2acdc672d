#pragma once

#include <cstdint>
#include <vector>

namespace millrace::tests {

/// A TCP socket of this machine's network namespace, as the kernel's socket diagnosis tells of it.
struct tcp_socket {
  std::uint32_t inode = 0; ///< as in /proc/PID/fd: socket:[inode]
  std::uint16_t local_port = 0;
  std::uint16_t remote_port = 0;
  std::uint64_t bytes_received = 0; ///< payload, since it was connected
};

/// The connected ones now. Empty where the kernel has no inet_diag.
std::vector<tcp_socket> connected_tcp_sockets();

} // namespace millrace::tests
