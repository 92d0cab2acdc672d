#pragma once

#include "runtime/access/stream_check.hpp"

#include <array>
#include <cstdint>

namespace millrace::access {

/// The longest message between actors, in bytes on the wire.
inline constexpr std::size_t longest_message = 64 << 20;

/// What CAF may read: frames of its BASP, as version 0.17 has it.
///
/// A frame is a header of 32 bytes, big endian (operation 1, padding 2, flags 1, payload bytes 4, data 8, source 8,
/// target 8), and its payload. CAF makes room for a payload before a byte of it has come. A connection begins with a
/// handshake. Messages hold an envelope, an error or one of the few things that CAF says to itself (`known_contents`);
/// CAF would read any type that it knows, those that nest without an end too.
class actor_stream final : public stream_check {
public:
  /// @param accepted the other side has connected
  explicit actor_stream(bool accepted) : accepted_(accepted) {}

  std::string take(std::span<const std::byte> bytes) override;

  std::size_t promised() const override { return missing_; }

private:
  static constexpr std::size_t header_bytes = 32, head_bytes = 512;

  std::string judge_header();
  std::string judge_head() const;

  bool accepted_;
  std::array<std::byte, header_bytes> header_{};
  std::array<std::byte, head_bytes> head_{}; ///< how the payload begins
  std::size_t header_got_ = 0, head_got_ = 0;
  std::size_t missing_ = 0; ///< bytes of the payload
  std::size_t payload_ = 0; ///< bytes of it in all
  std::uint8_t operation_ = 0;
  bool greeted_ = false;
};

} // namespace millrace::access
