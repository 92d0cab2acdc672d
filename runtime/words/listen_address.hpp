#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

/// Where something listens: an IPv4 address of this host and a port.
struct listen_address {
  std::string host;       ///< dotted
  std::uint16_t port = 0; ///< 0: any that is free

  bool is_loopback() const { return host.starts_with("127."); }

  bool operator==(const listen_address&) const = default;
};

/// "127.0.0.1:7070", or "localhost:7070" for the same. @returns nothing for any other text
std::optional<listen_address> parse_listen_address(std::string_view text);

} // namespace millrace
