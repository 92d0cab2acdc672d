#pragma once

#include <cstdint>
#include <cstdlib>

namespace millrace::tests {

/// A number that the environment sets, for longer runs of a test than `tools/test` makes.
inline std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* const value = std::getenv(name);
  return value ? std::strtoull(value, nullptr, 10) : otherwise;
}

} // namespace millrace::tests
