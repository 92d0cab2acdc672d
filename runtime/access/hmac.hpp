#pragma once

#include "runtime/access/key.hpp"

namespace millrace::access {

/// A tag of HMAC-SHA256 (RFC 2104).
using mac256 = std::array<std::byte, 32>;

/// HMAC-SHA256 of the pieces of `message`, taken as one string of bytes. `key` may have any length.
mac256 hmac_sha256(std::span<const std::byte> key, std::span<const std::span<const std::byte>> message);
mac256 hmac_sha256(std::span<const std::byte> key, std::span<const std::byte> message);

/// Equality whose time depends on the length only.
bool same_mac(const mac256& a, const mac256& b);

} // namespace millrace::access
