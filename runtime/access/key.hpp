#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace millrace::access {

/// A secret of 32 bytes: the key of one run, or of one of its ports.
using key256 = std::array<std::byte, 32>;

/// Fills `to` from the system's random source. @throws std::runtime_error if it has none
void draw_random(std::span<std::byte> to);

key256 random_key();

/// 64 digits 0-9a-f.
std::string hex(const key256& key);

/// @returns nothing for a text that is not 64 digits 0-9a-f
std::optional<key256> key_from_hex(std::string_view text);

} // namespace millrace::access
