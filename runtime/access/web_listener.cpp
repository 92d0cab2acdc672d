#include "runtime/access/web_listener.hpp"

#include "runtime/words/input_error.hpp"

#include <fcntl.h>

#include <chrono>
#include <string>
#include <utility>

namespace millrace::access {

using boost::asio::ip::tcp;

web_listener::web_listener(boost::asio::io_context& loop, const listen_address& own, int waiting)
    : acceptor_(loop), pause_(loop) {
  boost::system::error_code error;
  const tcp::endpoint at(boost::asio::ip::make_address(own.host), own.port);
  acceptor_.open(at.protocol(), error);
  if (!error)
    acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error)
    ::fcntl(acceptor_.native_handle(), F_SETFD, FD_CLOEXEC);
  if (!error)
    acceptor_.bind(at, error);
  if (!error)
    acceptor_.listen(waiting, error);
  if (error)
    throw input_error("cannot listen on " + own.host_in_url() + ":" + std::to_string(own.port) + " (" + error.message()
                      + "): want an address of this host and a free port");
}

void web_listener::start(handler taken) {
  taken_ = std::move(taken);
  accept();
}

void web_listener::accept() {
  acceptor_.async_accept([this](boost::system::error_code error, tcp::socket socket) {
    if (error == boost::asio::error::operation_aborted)
      return;
    if (error) { // no descriptor is left, for example
      pause_.expires_after(std::chrono::milliseconds(100));
      return pause_.async_wait([this](boost::system::error_code stopped) {
        if (!stopped)
          accept();
      });
    }
    ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
    taken_(std::move(socket));
    accept();
  });
}

} // namespace millrace::access
