#pragma once

#include "runtime/access/stream_check.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

namespace millrace::access {

/// The longest frame of UCX's TCP, without its header: what `UCX_TCP_RX_SEG_SIZE` says, which `transport` sets.
inline constexpr std::size_t longest_data_frame = 64 << 10;

/// What UCX may read: frames of its TCP, as version 1.13 has it.
///
/// A frame is a header of 5 bytes (kind 1, bytes 4, little endian) and its content. UCX copies a frame into a buffer of
/// fixed size, whatever its length. A put names an address in this process, and its bytes follow outside of any frame:
/// UCX writes them there, whatever lies there. The parts of a long message name
/// places in it. A connection that was accepted begins with 8 fixed bytes.
class data_stream final : public stream_check {
public:
  /// Whether bytes that come may be written to that memory of this process.
  using room_test = std::function<bool(std::uint64_t address, std::uint64_t bytes)>;

  /// @param accepted the other side has connected
  data_stream(bool accepted, room_test may_write);

  std::string take(std::span<const std::byte> bytes) override;

  std::size_t promised() const override;

private:
  static constexpr std::size_t magic_bytes = 8, header_bytes = 5, head_bytes = 20;

  /// Of a message in parts, for whose whole UCX makes room with the first.
  struct progress {
    std::uint64_t total = 0, came = 0;
  };

  /// Fills `head_` up to `wanted` bytes. @returns what is left of `bytes`
  std::span<const std::byte> gather(std::span<const std::byte> bytes, std::size_t wanted);
  std::uint64_t number(std::size_t at, std::size_t bytes) const;
  std::string judge_header();
  std::string judge_head();
  std::string judge_first_part(std::uint64_t bytes);
  std::string judge_next_part(std::uint64_t bytes);

  enum class part { magic, header, head, rest };

  room_test may_write_;
  part next_;
  std::vector<std::byte> head_; ///< the part that is gathered
  std::map<std::uint64_t, progress> messages_;
  std::uint64_t missing_ = 0; ///< of all messages in parts
  bool greeted_;
  std::uint8_t kind_ = 0;
  std::uint64_t length_ = 0; ///< of the frame
  std::uint64_t left_ = 0;   ///< bytes of the frame, or of the put, that are passed on without a look
};

} // namespace millrace::access
