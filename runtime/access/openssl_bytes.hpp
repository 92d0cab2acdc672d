#pragma once

#include <cstddef>

namespace millrace::access {

// Bytes as OpenSSL takes them.

inline const unsigned char* bytes_at(const std::byte* data) {
  return reinterpret_cast<const unsigned char*>(data);
}

inline unsigned char* bytes_at(std::byte* data) {
  return reinterpret_cast<unsigned char*>(data);
}

} // namespace millrace::access
