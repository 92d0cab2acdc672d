#pragma once

#include <string>

namespace millrace::transport {

/// The network interface that a `bind` option means: "" is the loopback, else an IPv4 address or interface name.
/// @throws std::runtime_error in one line that lists what this machine has
std::string interface_of(const std::string& bind);

} // namespace millrace::transport
