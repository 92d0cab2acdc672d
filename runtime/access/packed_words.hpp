#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace millrace::access {

/// Takes numbers off the front of bytes, little endian. Where one is not there whole, everything after it is missing
/// too.
class packed_words {
public:
  explicit packed_words(std::span<const std::byte> bytes) : rest_(bytes) {}

  /// @param bytes of the number, 1 to 8 @returns 0 if it is missing
  std::uint64_t number(std::size_t bytes) {
    std::uint64_t value = 0;
    const auto found = take(bytes);
    for (std::size_t i = found.size(); i-- > 0;)
      value = value << 8 | std::to_integer<std::uint64_t>(found[i]);
    return value;
  }

  /// @returns 0 if it is missing
  float real() {
    const auto bits = static_cast<std::uint32_t>(number(sizeof(float)));
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

  /// @returns nothing if they are missing
  std::span<const std::byte> take(std::size_t count) {
    short_ = short_ || count > rest_.size();
    if (short_)
      return {};
    const auto value = rest_.first(count);
    rest_ = rest_.subspan(count);
    return value;
  }

  std::size_t left() const { return rest_.size(); }

  bool all_there() const { return !short_; }

  /// Nothing is missing and nothing is left over.
  bool whole() const { return !short_ && rest_.empty(); }

private:
  std::span<const std::byte> rest_;
  bool short_ = false;
};

} // namespace millrace::access
