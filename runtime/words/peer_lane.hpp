#pragma once

#include <cstdint>
#include <string>

namespace millrace {

/// How tensors of another process come to this one.
struct peer_lane {
  std::uint64_t node = 0;         ///< the other one
  std::string lane;               ///< "tcp/eth0", "tcp/eth0, encrypted", or "tcp/lo, large ones mapped"
  std::uint64_t bytes_pulled = 0; ///< of columns, since the two know each other
  std::uint64_t bytes_mapped = 0; ///< of these, not copied

  bool operator==(const peer_lane&) const = default;
};

} // namespace millrace
