#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility> // Boost 1.74's asio/awaitable.hpp uses std::exchange without it

namespace millrace::transport {

/// One end of a connection between two processes of a host and of one user, which carries messages and, with them,
/// descriptors. Lives on the loop's thread.
class descriptor_line : public std::enable_shared_from_this<descriptor_line> {
public:
  /// @param message at most `largest` bytes, valid during the call @param descriptor owned by the handler, or -1
  using message_handler = std::function<void(std::span<const std::byte> message, int descriptor)>;

  static constexpr std::size_t largest = 256;

  /// Connects to a door of this name. @throws std::runtime_error in one line, e.g. if nobody listens there
  static std::shared_ptr<descriptor_line> to_door(boost::asio::io_context& loop, const std::string& name);

  /// @param socket a connected SOCK_SEQPACKET, owned from here on
  /// @throws std::runtime_error in one line if the other end is another user's
  descriptor_line(boost::asio::io_context& loop, int socket);

  /// Called for each message, and once when the other end is gone. Neither is called after `close`.
  void listen(message_handler on_message, std::function<void()> on_end);

  /// @returns false if the line has no room now or its other end is gone
  bool send(std::span<const std::byte> message, int descriptor = -1);

  void close();

private:
  void wait();
  void read_all();

  boost::asio::posix::stream_descriptor socket_;
  message_handler on_message_;
  std::function<void()> on_end_;
};

/// Where processes of this host and of one user open lines to this one: an abstract name, which is no file, lives in
/// the network namespace and ends with the process. Everybody can read the names, so a line proves nothing.
class descriptor_door {
public:
  using line_handler = std::function<void(std::shared_ptr<descriptor_line>)>;

  /// @param name at most 107 bytes @throws std::runtime_error in one line
  descriptor_door(boost::asio::io_context& loop, const std::string& name, line_handler on_line);

private:
  void wait();

  boost::asio::io_context& loop_;
  boost::asio::posix::stream_descriptor socket_;
  line_handler on_line_;
};

/// What names this host: its start and its network namespace. "" if the system does not say.
std::string host_identity();

} // namespace millrace::transport
