#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

/// Where something listens: an IP address of this host and a port.
struct listen_address {
  std::string host;       ///< dotted, or IPv6 without brackets
  std::uint16_t port = 0; ///< 0: any that is free

  bool is_loopback() const { return host.starts_with("127.") || host == "::1"; }

  /// As in a URL and the field Host: IPv6 in brackets, without the port.
  std::string host_in_url() const { return host.find(':') == std::string::npos ? host : "[" + host + "]"; }

  bool operator==(const listen_address&) const = default;
};

/// "127.0.0.1:7070", "localhost:7070" for the same, or "[::1]:7070". @returns nothing for any other text
std::optional<listen_address> parse_listen_address(std::string_view text);

} // namespace millrace
