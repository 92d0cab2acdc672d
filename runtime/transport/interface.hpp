#pragma once

#include <chrono>
#include <string>

namespace millrace::transport {

/// The network interface that a `bind` option means: "" is the loopback, else an IPv4 address or interface name.
/// @throws std::runtime_error in one line that lists what this machine has
std::string interface_of(const std::string& bind);

/// Waits until that interface is up and its cable is plugged in: before, UCX has no such device.
/// @returns whether it is within that time  @throws as `interface_of`
bool wait_until_up(const std::string& bind, std::chrono::milliseconds within);

/// Those that have an address, "lo 127.0.0.1, eth0 10.0.0.5". @throws std::runtime_error if the system does not say
std::string interfaces_in_words();

} // namespace millrace::transport
