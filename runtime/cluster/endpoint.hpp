#pragma once

#include <cstdint>
#include <string>

namespace millrace::cluster {

/// An IPv4 address and a port.
struct endpoint {
  std::string address; ///< dotted
  std::uint16_t port = 0;
};

/// "10.0.0.2:7000" or "gpu7.cluster:7000". A name is resolved here: CAF would resolve it while every other connection
/// waits. @throws input_error naming what is wrong
endpoint parse_endpoint(const std::string& text);

bool is_loopback(const std::string& address);

/// Whether somebody accepts a TCP connection there within `timeout_s`. CAF's own connect blocks every other connection
/// of the process for as long as the kernel tries: ask here first.
bool reachable(const endpoint& where, double timeout_s);

/// The address of this host that packets to `peer` come from. @throws input_error if there is no route
std::string address_towards(const std::string& peer);

} // namespace millrace::cluster
