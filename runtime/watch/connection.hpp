#pragma once

#include "runtime/access/web_gate.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace millrace::watch {

using access::request_facts;

class connection;

/// Who answers the requests of connections.
class answerer {
public:
  using response = boost::beast::http::response<boost::beast::http::string_body>;

  virtual ~answerer() = default;
  virtual response answer(const request_facts& request) = 0;
  /// What is said to a request that nobody reads to its end.
  virtual response refuse(boost::beast::http::status status, const std::string& why) = 0;
  /// Whether the connection becomes an event stream now; else it gets the answer.
  virtual bool begins_stream(const request_facts& request, const std::shared_ptr<connection>& from) = 0;
  virtual void forget(const connection& closed) = 0;
};

/// One connection of a watcher, on the server's only thread.
class connection : public std::enable_shared_from_this<connection> {
public:
  struct deadlines {
    std::chrono::milliseconds patience, idle;
  };

  connection(boost::asio::ip::tcp::socket socket, answerer& answers, deadlines limits);

  /// Reads the first request.
  void start() { read(limits_.patience); }

  void close();

  /// Sends the head of an event stream.
  void begin_stream();

  /// Sends it unless the last one is still under way. @returns whether it is on its way
  bool send(std::shared_ptr<const std::string> text);

  std::map<std::string, std::uint64_t> told; ///< versions of the parts that were sent, by id
  std::list<std::shared_ptr<connection>>::iterator place;
  bool is_stream = false, is_closed = false;

private:
  void read(std::chrono::milliseconds within);
  /// @param error of reading the head
  void refuse(const boost::beast::error_code& error);
  void serve();
  void reply(answerer::response response);
  void listen_to_the_end();

  boost::beast::tcp_stream stream_;
  answerer& answers_;
  deadlines limits_;
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::empty_body>> parser_;
  std::shared_ptr<answerer::response> response_;
  std::shared_ptr<const std::string> sending_;
};

} // namespace millrace::watch
