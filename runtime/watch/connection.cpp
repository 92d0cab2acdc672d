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
  http::async_read_header(stream_, buffer_, *parser_,
                          [self = shared_from_this()](beast::error_code error, std::size_t) {
                            if (self->is_closed)
                              return;
                            if (error)
                              self->refuse(error);
                            else
                              self->serve();
                          });
}

void connection::refuse(const beast::error_code& error) {
  if (error == http::error::body_limit) // of what the head says; all of it was read
    return serve();
  if (error != http::error::header_limit && error != http::error::buffer_overflow)
    return close(); // torn, late, or no HTTP at all
  auto response = answers_.refuse(http::status::request_header_fields_too_large,
                                  "want a request's line and fields in " + std::to_string(largest_head) + " bytes");
  response.keep_alive(false);
  response.prepare_payload();
  reply(std::move(response));
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
  const bool has_body = !parser_->is_done();
  if (!has_body && answers_.begins_stream(facts, shared_from_this()))
    return;
  const bool asks_for_a_page = facts.method == "GET" || facts.method == "HEAD";
  auto response = has_body && asks_for_a_page
                      ? answers_.refuse(http::status::payload_too_large, "want a request without a body")
                      : answers_.answer(facts);
  response.version(request.version());
  response.keep_alive(request.keep_alive() && !has_body); // where the next request begins is not looked for
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
    if (error)
      return self->close();
    if (!self->response_->keep_alive()) {
      beast::error_code ignored;
      self->stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
      self->stream_.expires_after(self->limits_.patience);
      return self->listen_to_the_end();
    }
    self->response_.reset();
    self->read(self->limits_.idle);
  });
}

/// Closed with something unread, the connection would be reset, and the answer lost on its way.
void connection::listen_to_the_end() {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(largest_head),
                          [self = shared_from_this()](beast::error_code error, std::size_t) {
                            if (self->is_closed)
                              return;
                            if (error)
                              self->close();
                            else
                              self->listen_to_the_end();
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
