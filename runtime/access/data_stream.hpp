#pragma once

#include "runtime/access/frame_judge.hpp"
#include "runtime/access/stream_check.hpp"
#include "runtime/access/stream_cursor.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
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
///
/// With a `frame_judge`, what stands inside the frames is judged too, and what this process sends is followed for it.
class data_stream final : public stream_check {
public:
  /// Whether bytes that come may be written to that memory of this process.
  using room_test = std::function<bool(std::uint64_t address, std::uint64_t bytes)>;

  /// @param accepted the other side has connected @param inside null: kinds, lengths and places alone are judged
  data_stream(bool accepted, room_test may_write, std::unique_ptr<frame_judge> inside = nullptr);

  std::string take(std::span<const std::byte> bytes) override;

  std::size_t promised() const override;

  std::string may_read() const override;

  bool listens_to_own() const override { return inside_ != nullptr; }

  void told(std::span<const std::byte> bytes) override;

private:
  static constexpr std::size_t magic_bytes = 8, header_bytes = 5, put_bytes = 20;

  enum class part { magic, header, head, rest, foot };

  /// Of a message in parts, for whose whole UCX makes room with the first.
  struct progress {
    std::uint64_t total = 0, came = 0;
  };

  /// Of the bytes in one direction, the frame that is looked at. `left` of it, or of a put.
  struct cursor : stream_cursor {
    part next = part::header;
    std::uint8_t kind = 0;
    std::uint64_t length = 0; ///< of the frame

    std::uint64_t number(std::size_t at, std::size_t bytes) const;
    void begin_frame();
  };

  std::size_t wanted() const;
  std::string judge_part();
  std::string judge_header();
  bool length_fits() const;
  std::string judge_head();
  std::string judge_message_head();
  std::string judge_foot();
  std::string judge_put();
  std::string judge_first_part(std::uint64_t endpoint, std::uint64_t id, std::uint64_t total);
  std::string judge_next_part(std::uint64_t endpoint, std::uint64_t id);

  room_test may_write_;
  std::unique_ptr<frame_judge> inside_;
  cursor in_, out_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, progress> messages_; ///< by endpoint and number
  std::uint64_t missing_ = 0;                                            ///< of all messages in parts
  bool greeted_;
  std::uint64_t part_bytes_ = 0;  ///< of the message that is looked at
  std::uint64_t part_offset_ = 0; ///< where they belong
  std::uint64_t put_at_ = 0;      ///< where the rest of a put goes
};

} // namespace millrace::access
