#pragma once

#include "runtime/access/stream_check.hpp"
#include "runtime/access/stream_cursor.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

namespace millrace::access {

/// Tensors between two ranks have a slot each of these: the lengths of an exchange, its bytes, its end.
inline constexpr std::size_t rank_slots = 3;

/// What Gloo may read: operations of its TCP, as the Gloo of LibTorch 2.11 has them.
///
/// An operation is a preamble of six numbers of 8 bytes, little endian (bytes in all, kind, slot, offset, length,
/// remote offset), and of a tensor its bytes. A rank says that it will send, its peer says that it waits, and the
/// tensor follows: Gloo writes it to where the peer waits, and ends the process if nobody does, or for fewer bytes
/// (`Pair::prepareRead`, gloo/transport/tcp/pair.cc). Other kinds go to buffers that no rank has: it reads for them
/// without an end. It keeps a record of each announcement.
///
/// So a tensor must have the length that this rank has said to wait for: its bound is the receiver's own tensor. What
/// this rank says is followed too. Gloo reads and writes a connection under one lock.
class gloo_stream final : public stream_check {
public:
  /// @param accepted the other side has connected: until it says something, it counts as a socket that is held for it
  explicit gloo_stream(bool accepted) : silent_(accepted) {}

  std::string take(std::span<const std::byte> bytes) override;

  std::size_t promised() const override;

  bool listens_to_own() const override { return true; }

  void told(std::span<const std::byte> bytes) override;

private:
  static constexpr std::size_t preamble_bytes = 48;

  /// Of the bytes in one direction, the operation that is looked at.
  struct cursor : stream_cursor {
    /// @returns whether a preamble is there whole
    bool go_on(std::span<const std::byte>& bytes);
  };

  struct slot {
    std::deque<std::uint64_t> waits; ///< lengths that this rank waits for
    unsigned announced = 0;          ///< tensors that the other side will send
    unsigned waited_for = 0;         ///< tensors that the other side waits for
  };

  std::string judge();
  std::string judge_tensor(std::uint64_t bytes, std::uint64_t length, slot& of);

  bool silent_;
  cursor in_, out_;
  std::array<slot, rank_slots> slots_;
};

} // namespace millrace::access
