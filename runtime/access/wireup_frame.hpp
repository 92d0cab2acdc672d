#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace millrace::access {

/// What two workers of UCX 1.13.1 say before they send to each other: the packed address of a worker whose only
/// transport is TCP, and the wireup messages that carry one.
///
/// UCX believes what stands there: it reads on behind the end of an address (`ucp_address_unpack`,
/// src/ucp/wireup/address.c), ends the process for a version that it does not know and for lanes that do not fit
/// (`ucp_address_unpack_header`, `ucp_wireup_init_lanes`), and gives an endpoint without error handling its own address
/// as its number (`ucp_ep_shall_use_indirect_id`, src/ucp/core/ucp_ep.c).

/// Where a worker listens.
struct tcp_place {
  bool v6 = false;
  bool loopback = false;          ///< the loopback address of a network namespace, in place of an address
  std::vector<std::byte> address; ///< 4 or 16 bytes, in the network's order
  std::uint16_t port = 0;
  std::uint8_t domain = 0;                   ///< of memory, with flags
  std::uint8_t paths = 1;                    ///< of the device
  std::optional<std::uint8_t> system_device; ///< the device's place in its host

  bool operator==(const tcp_place&) const = default;
};

struct worker_address {
  std::uint64_t worker = 0; ///< its random number
  std::vector<tcp_place> places;
};

/// @param told_to_endpoint it stands in a wireup message, where each place also has a number of one byte
/// @returns why no worker of a run has such an address; empty: it is in `to`
std::string read_worker_address(std::span<const std::byte> packed, bool told_to_endpoint, worker_address& to);

struct wireup_frame {
  static constexpr std::uint8_t request = 1, reply = 2;

  std::uint8_t type = 0;
  std::uint16_t number = 0; ///< of the connection between two workers
  std::uint64_t source = 0; ///< the sender's endpoint
  std::uint64_t target = 0; ///< the receiver's; 0 if the sender does not know it
  worker_address from;      ///< a reply's has no places
};

/// A request or a reply: processes of a run send no other.
/// @returns why none of them sends this; empty: it is in `to`
std::string read_wireup(std::span<const std::byte> content, wireup_frame& to);

/// Whether a worker gives an endpoint or a request such a number. UCX takes even ones for addresses in this process.
constexpr bool is_given_number(std::uint64_t number) {
  return (number & 1) != 0 && number > 1;
}

} // namespace millrace::access
