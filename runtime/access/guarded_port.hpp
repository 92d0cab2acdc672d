#pragma once

#include "runtime/access/proof.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>

namespace millrace::access {

/// Limits on connections that have not shown their proof yet.
struct stranger_limits {
  std::size_t connections = 64;                ///< at once; the oldest makes room
  std::chrono::milliseconds patience{2'000};   ///< for the whole proof
  std::chrono::milliseconds out_of_files{100}; ///< pause when the process has no descriptor left
};

/// An acceptor that lets through who belongs to the run.
///
/// It accepts connections, reads a `proof` from each and sends the number of a proven connection's descriptor over a
/// line, 4 bytes each. Whoever holds the other end of the line owns the descriptor. Everybody else is closed.
///
/// Invariants
/// - AC-1: nothing is read from a connection past its proof, so the reader behind the line finds the stream complete.
/// - AC-2: strangers hold at most `connections` descriptors and a few hundred bytes each, and none for longer than
///   `patience`.
/// - AC-3: when the line's other end is closed, the port is closed too.
class guarded_port : public std::enable_shared_from_this<guarded_port> {
public:
  /// Both descriptors are owned from here on. @param listening a socket that listens @param line a SOCK_SEQPACKET end
  struct ends {
    int listening = -1;
    int line = -1;
  };

  using refusal_handler = std::function<void(const std::string& who, const std::string& why)>;

  guarded_port(boost::asio::io_context& loop, ends own, std::vector<key256> keys, stranger_limits limits,
               refusal_handler on_refused);

  /// Begins, on the loop's thread or before it runs. @param on_closed the line's other end is gone
  void open(std::function<void()> on_closed);

private:
  struct stranger {
    explicit stranger(boost::asio::ip::tcp::socket made) : socket(std::move(made)), deadline(socket.get_executor()) {}

    boost::asio::ip::tcp::socket socket;
    boost::asio::steady_timer deadline;
    std::string who; ///< address:port
    proof shown{};
    bool gone = false; ///< handlers that are still queued leave it alone
    std::list<std::shared_ptr<stranger>>::iterator at;
  };

  void accept_next();
  void greet(boost::asio::ip::tcp::socket socket);
  void judge(stranger& who, const boost::system::error_code& error, std::size_t bytes);
  void refuse(stranger& who, const std::string& why);
  void hand_over(stranger& who);
  void forget(stranger& who);
  void watch_line();
  void close();

  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::posix::stream_descriptor line_;
  boost::asio::steady_timer pause_;
  proof_book book_;
  stranger_limits limits_;
  refusal_handler on_refused_;
  std::function<void()> on_closed_;
  std::list<std::shared_ptr<stranger>> strangers_; ///< oldest first
};

} // namespace millrace::access
