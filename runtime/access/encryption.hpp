#pragma once

#include "runtime/access/key.hpp"

#include <cstddef>
#include <span>

namespace millrace::access {

/// Bytes that encryption adds: the tag by which a change is noticed.
inline constexpr std::size_t tag_bytes = 16;

/// AES-256-GCM (NIST SP 800-38D) with a nonce of zeros and without further data, so each key may encrypt once.
/// @param to as many bytes as `plain` and `tag_bytes` more
void encrypt(const key256& once, std::span<const std::byte> plain, std::span<std::byte> to);

/// @param to as many bytes as `encrypted` without its tag; what is written there means nothing if it returns false
/// @returns whether they were encrypted with the key and not changed since
bool decrypt(const key256& once, std::span<const std::byte> encrypted, std::span<std::byte> to);

} // namespace millrace::access
