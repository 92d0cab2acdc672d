#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace millrace::access {

/// Where one looks in a stream whose bytes come in pieces: parts are gathered until they are whole, and the bytes
/// behind them pass without a look.
struct stream_cursor {
  std::vector<std::byte> seen; ///< the part that is gathered
  std::uint64_t left = 0;      ///< bytes that are passed on without a look

  /// Takes what the part lacks off the front. @returns whether its `wanted` bytes are all there
  bool gather(std::span<const std::byte>& bytes, std::size_t wanted) {
    const auto more = bytes.first(std::min(bytes.size(), wanted - seen.size()));
    seen.insert(seen.end(), more.begin(), more.end());
    bytes = bytes.subspan(more.size());
    return seen.size() == wanted;
  }

  /// Takes what may pass off the front.
  void skip(std::span<const std::byte>& bytes) {
    const auto passed = std::min<std::uint64_t>(bytes.size(), left);
    left -= passed;
    bytes = bytes.subspan(passed);
  }
};

} // namespace millrace::access
