#include "runtime/access/guarded_port.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

namespace millrace::access {
namespace {

using boost::asio::ip::tcp;

/// IPv4 or IPv6, as the socket is.
tcp family_of(int socket) {
  int domain = AF_INET;
  socklen_t size = sizeof domain;
  ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size);
  return domain == AF_INET6 ? tcp::v6() : tcp::v4();
}

std::string text_of(const tcp::endpoint& where) {
  return where.address().to_string() + ":" + std::to_string(where.port());
}

} // namespace

guarded_port::guarded_port(boost::asio::io_context& loop, ends own, std::vector<key256> keys, stranger_limits limits,
                           refusal_handler on_refused)
    : acceptor_(loop, family_of(own.listening), own.listening), line_(loop, own.line), pause_(loop),
      book_(std::move(keys)), limits_(limits), on_refused_(std::move(on_refused)) {
}

void guarded_port::open(std::function<void()> on_closed) {
  on_closed_ = std::move(on_closed);
  watch_line();
  accept_next();
}

void guarded_port::watch_line() {
  // Nobody writes at the other end: readable means that it is gone.
  line_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                   [self = shared_from_this()](const boost::system::error_code& error) {
                     if (!error)
                       self->close();
                   });
}

void guarded_port::accept_next() {
  acceptor_.async_accept([self = shared_from_this()](const boost::system::error_code& error, tcp::socket socket) {
    if (error == boost::asio::error::operation_aborted)
      return;
    if (!error) {
      self->greet(std::move(socket));
      self->accept_next();
      return;
    }
    if (error == boost::system::errc::too_many_files_open
        || error == boost::system::errc::too_many_files_open_in_system)
      self->on_refused_("a connection", "this process has no descriptor left (ulimit -n)");
    self->pause_.expires_after(self->limits_.out_of_files);
    self->pause_.async_wait([self](const boost::system::error_code& stopped) {
      if (!stopped)
        self->accept_next();
    });
  });
}

void guarded_port::greet(tcp::socket socket) {
  boost::system::error_code gone;
  const auto from = socket.remote_endpoint(gone);
  if (gone)
    return;
  if (strangers_.size() >= limits_.connections)
    refuse(*strangers_.front(), "more than " + std::to_string(limits_.connections) + " connections without a proof");
  const auto who = std::make_shared<stranger>(std::move(socket));
  who->who = text_of(from);
  who->at = strangers_.insert(strangers_.end(), who);
  who->deadline.expires_after(limits_.patience);
  who->deadline.async_wait([self = shared_from_this(), who](const boost::system::error_code& stopped) {
    if (!stopped && !who->gone)
      self->refuse(*who, "no proof within " + std::to_string(self->limits_.patience.count()) + " ms");
  });
  boost::asio::async_read(who->socket, boost::asio::buffer(who->shown),
                          [self = shared_from_this(), who](const boost::system::error_code& error, std::size_t bytes) {
                            if (!who->gone)
                              self->judge(*who, error, bytes);
                          });
}

void guarded_port::judge(stranger& who, const boost::system::error_code& error, std::size_t bytes) {
  if (error && bytes == 0)
    return forget(who); // somebody looked whether the port is open
  if (error)
    return refuse(who, "closed after " + std::to_string(bytes) + " bytes of its proof");
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  if (::getsockname(who.socket.native_handle(), reinterpret_cast<sockaddr*>(&own), &size) != 0
      || !book_.accept(who.shown, place_of(reinterpret_cast<const sockaddr*>(&own))))
    return refuse(who, "no proof that it holds this port's key");
  hand_over(who);
}

void guarded_port::refuse(stranger& who, const std::string& why) {
  on_refused_(who.who, why);
  forget(who);
}

void guarded_port::forget(stranger& who) {
  const auto last = *who.at; // `who` lives until the end of this function
  last->gone = true;
  last->deadline.cancel();
  boost::system::error_code ignored;
  last->socket.close(ignored);
  strangers_.erase(last->at);
}

void guarded_port::hand_over(stranger& who) {
  const int number = who.socket.release();
  forget(who);
  ::fcntl(number, F_SETFL, ::fcntl(number, F_GETFL) & ~O_NONBLOCK); // as accept gives it
  if (::send(line_.native_handle(), &number, sizeof number, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof number)
    ::close(number);
}

void guarded_port::close() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  line_.close(ignored);
  pause_.cancel();
  while (!strangers_.empty())
    forget(*strangers_.front());
  if (const auto closed = std::exchange(on_closed_, nullptr))
    closed();
}

} // namespace millrace::access
