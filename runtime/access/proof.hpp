#pragma once

#include "runtime/access/key.hpp"

#include <sys/socket.h>

#include <set>
#include <vector>

namespace millrace::access {

/// Where a connection leads: 16 bytes of address (IPv4 as ::ffff:a.b.c.d), 2 of port, as on the wire.
using place = std::array<std::byte, 18>;

/// @returns all zeros for an address that is neither IPv4 nor IPv6
place place_of(const sockaddr* address);

/// The first bytes of a connection: "MLR1", 16 random bytes, and 32 of HMAC-SHA256 over the random bytes and the place.
/// The one who connects need not wait for an answer, so that a frozen process holds up nobody.
inline constexpr std::size_t proof_bytes = 52;
using proof = std::array<std::byte, proof_bytes>;

proof make_proof(const key256& key, const place& target);

/// Checks proofs. Each is good once: whoever has seen one on the way cannot show it again, and a proof for one place is
/// none for another.
class proof_book {
public:
  /// @param keys any of which will do
  explicit proof_book(std::vector<key256> keys) : keys_(std::move(keys)) {}

  /// @param own the place to which the connection led
  bool accept(const proof& shown, const place& own);

private:
  using random_part = std::array<std::byte, 16>;

  std::vector<key256> keys_;
  std::set<random_part> seen_;
};

} // namespace millrace::access
