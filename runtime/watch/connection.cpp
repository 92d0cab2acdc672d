#include "runtime/watch/connection.hpp"

#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>

namespace millrace::watch {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr std::size_t largest_head = 8 << 10; ///< bytes of a request's line and fields

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

} // namespace

connection::connection(asio::ip::tcp::socket socket, answerer& answers, deadlines limits)
    : stream_(std::move(socket)), answers_(answers), limits_(limits), buffer_(2 * largest_head) {
}

void connection::close() {
  if (std::exchange(is_closed, true))
    return;
  stream_.close();
  answers_.forget(*this);
}

void connection::read(std::chrono::milliseconds within) {
  parser_.emplace();
  parser_->header_limit(largest_head);
  stream_.expires_after(within);
  http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](beast::error_code error, std::size_t) {
    if (self->is_closed)
      return;
    if (error) // torn, late, too long, with a body, or no HTTP at all
      self->close();
    else
      self->serve();
  });
}

void connection::serve() {
  const auto& request = parser_->get();
  const auto field = [&](http::field name) { return view(request[name]); };
  const request_facts facts{.method = view(request.method_string()),
                            .target = view(request.target()),
                            .host = field(http::field::host),
                            .origin = field(http::field::origin),
                            .authorization = field(http::field::authorization),
                            .cookie = field(http::field::cookie)};
  if (answers_.begins_stream(facts, shared_from_this()))
    return;
  auto response = answers_.answer(facts);
  response.version(request.version());
  response.keep_alive(request.keep_alive());
  response.prepare_payload();
  if (facts.method == "HEAD")
    response.body().clear(); // the length stays
  reply(std::move(response));
}

void connection::reply(answerer::response response) {
  response_ = std::make_shared<answerer::response>(std::move(response));
  stream_.expires_after(limits_.patience);
  http::async_write(stream_, *response_, [self = shared_from_this()](beast::error_code error, std::size_t) {
    if (self->is_closed)
      return;
    if (error || !self->response_->keep_alive())
      return self->close();
    self->response_.reset();
    self->read(self->limits_.idle);
  });
}

void connection::begin_stream() {
  is_stream = true;
  parser_.reset();
  send(std::make_shared<const std::string>("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                           "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                                           "Connection: close\r\n\r\nretry: 2000\n\n"));
}

bool connection::send(std::shared_ptr<const std::string> text) {
  if (sending_ || is_closed)
    return false;
  sending_ = std::move(text);
  stream_.expires_after(limits_.patience);
  asio::async_write(stream_, asio::buffer(*sending_),
                    [self = shared_from_this()](beast::error_code error, std::size_t) {
                      self->sending_.reset();
                      if (error && !self->is_closed)
                        self->close();
                    });
  return true;
}

} // namespace millrace::watch
