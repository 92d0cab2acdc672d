#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace millrace::actors {

/// Bytes as CAF's messages carry them: it knows no std::byte.
inline std::vector<std::uint8_t> wire_bytes(std::span<const std::byte> bytes) {
  const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
  return {first, first + bytes.size()};
}

} // namespace millrace::actors
