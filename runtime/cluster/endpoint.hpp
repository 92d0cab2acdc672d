#pragma once

#include <cstdint>
#include <string>

namespace millrace::cluster {

/// An address and a port.
struct endpoint {
  std::string address; ///< IPv4, or IPv6 without brackets
  std::uint16_t port = 0;
};

/// "10.0.0.2:7000", "[fd00::2]:7000" or "gpu7.cluster:7000". A name is resolved here, to an IPv4 address if it
/// has one: CAF would resolve it while every other connection waits. @throws input_error naming what is wrong
endpoint parse_endpoint(const std::string& text);

/// As `parse_endpoint` reads it.
std::string text_of(const endpoint& where);

/// Whether somebody accepts a TCP connection there within `timeout_s`. CAF's own connect blocks every other connection
/// of the process for as long as the kernel tries: ask here first.
bool reachable(const endpoint& where, double timeout_s);

/// The address of this host that packets to `peer` come from. @throws input_error if there is no route
std::string address_towards(const std::string& peer);

} // namespace millrace::cluster
