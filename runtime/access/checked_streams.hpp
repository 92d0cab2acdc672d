#pragma once

#include "runtime/access/stream_check.hpp"

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace millrace::access {

/// What tells a socket from all others of this machine, whatever its number. @returns 0 for what is no socket
ino_t socket_inode(int descriptor);

/// From now on what comes over this connection is checked before the library that reads it gets it: `recv` of this
/// program comes before the C library's. A connection that breaks its rules fails for the library, as if the other side
/// had reset it.
///
/// The room that libraries hold for what connections have announced and not sent is bounded by `longest_message`: those
/// that have been silent for longest are given up, never the one that sends.
void check_stream(int descriptor, std::unique_ptr<stream_check> check);

/// Whether the library behind a connection may have what has been read from it. Whoever decrypts asks after that.
/// @returns true too for a connection that nobody checks
bool may_have(int descriptor, std::span<const std::byte> bytes);

/// Who is told of connections that broke their rules; called on the thread that reads. Nobody at first.
void tell_broken_streams(std::function<void(const std::string& who, const std::string& why)> tell);

/// Memory into which UCX may write what others send, while this object lives.
class room_for_data {
public:
  room_for_data(const void* begin, std::size_t bytes);
  ~room_for_data();
  room_for_data(const room_for_data&) = delete;
  room_for_data& operator=(const room_for_data&) = delete;

private:
  std::multimap<std::uint64_t, std::uint64_t>::iterator at_;
};

/// Whether all of that memory is room for data.
bool is_room_for_data(std::uint64_t begin, std::uint64_t bytes);

} // namespace millrace::access
