#pragma once

#include "runtime/words/listen_address.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstdint>
#include <functional>

namespace millrace::access {

/// Where a server of HTTP takes connections: on the loop's thread, for as long as it lives. Child processes get none of
/// its sockets. When no descriptor is left it tries again a moment later.
class web_listener {
public:
  using handler = std::function<void(boost::asio::ip::tcp::socket)>;

  /// Takes the port. @param waiting connections that the system keeps until they are taken
  /// @throws input_error in one line if the port cannot be had
  web_listener(boost::asio::io_context& loop, const listen_address& at, int waiting);

  /// From now on `taken` gets each connection.
  void start(handler taken);

  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

private:
  void accept();

  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer pause_;
  handler taken_;
};

} // namespace millrace::access
