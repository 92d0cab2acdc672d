#include "runtime/access/guarded_port.hpp"

#include <arpa/inet.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <future>
#include <mutex>
#include <span>
#include <thread>
#include <utility>

namespace guarded_port_test {

using namespace millrace::access;
using namespace std::chrono_literals;

namespace {

constexpr int patience_ms = 10'000; // for what must come

/// A descriptor that closes itself.
struct descriptor {
  int number = -1;

  explicit descriptor(int n = -1) : number(n) {}

  descriptor(descriptor&& other) noexcept : number(std::exchange(other.number, -1)) {}

  ~descriptor() {
    if (number >= 0)
      ::close(number);
  }
};

/// Waits until there is something to read, or the end. @returns false if nothing comes
bool readable(int number, int within_ms = patience_ms) {
  pollfd wait{number, POLLIN, 0};
  return ::poll(&wait, 1, within_ms) == 1;
}

/// Whether the other side has closed the connection.
bool closed(int number) {
  char byte = 0;
  return readable(number) && ::recv(number, &byte, 1, 0) <= 0;
}

/// A guarded port on loopback with its thread, and the end of its line that a library would have.
class open_port {
public:
  explicit open_port(stranger_limits limits = {}) {
    const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    REQUIRE(::bind(listening, reinterpret_cast<sockaddr*>(&address_), size) == 0);
    REQUIRE(::listen(listening, 128) == 0);
    REQUIRE(::getsockname(listening, reinterpret_cast<sockaddr*>(&address_), &size) == 0);
    int line[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) == 0);
    line_ = line[0];
    std::make_shared<guarded_port>(loop_, guarded_port::ends{listening, line[1]}, std::vector{key}, limits,
                                   [this](const std::string&, const std::string& why) {
                                     const std::lock_guard lock(mutex_);
                                     refused_.push_back(why);
                                   })
        ->open([this] { closed_.set_value(); });
    thread_ = std::thread([this] { loop_.run(); });
  }

  ~open_port() {
    close_line();
    thread_.join();
  }

  void close_line() {
    if (line_ >= 0)
      ::close(std::exchange(line_, -1));
  }

  bool closes() {
    return closed_.get_future().wait_for(std::chrono::milliseconds(patience_ms)) == std::future_status::ready;
  }

  descriptor dial() const {
    descriptor made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(made.number, reinterpret_cast<const sockaddr*>(&address_), sizeof address_) == 0);
    return made;
  }

  proof shown() const { return make_proof(key, place_of(reinterpret_cast<const sockaddr*>(&address_))); }

  /// The next proven connection.
  descriptor take() const {
    int number = -1;
    REQUIRE(readable(line_));
    REQUIRE(::recv(line_, &number, sizeof number, 0) == sizeof number);
    return descriptor(number);
  }

  bool quiet() const { return !readable(line_, 0); }

  std::vector<std::string> refused() {
    const std::lock_guard lock(mutex_);
    return refused_;
  }

  const key256 key = random_key();

private:
  boost::asio::io_context loop_;
  sockaddr_in address_{};
  int line_ = -1;
  std::mutex mutex_;
  std::vector<std::string> refused_;
  std::promise<void> closed_;
  std::thread thread_;
};

void say(const descriptor& to, std::span<const std::byte> bytes) {
  REQUIRE(::send(to.number, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
}

} // namespace

TEST_CASE("a proven connection comes through with every byte after its proof, in blocking mode") {
  open_port port;
  const auto here = port.dial();
  const auto shown = port.shown();
  std::vector<std::byte> stream(shown.begin(), shown.end());
  for (const char c : std::string("hello"))
    stream.push_back(static_cast<std::byte>(c));
  say(here, std::span(stream).first(10)); // in pieces
  say(here, std::span(stream).subspan(10));
  const auto there = port.take();
  CHECK((::fcntl(there.number, F_GETFL) & O_NONBLOCK) == 0);
  char text[8] = {};
  REQUIRE(readable(there.number));
  CHECK(::recv(there.number, text, sizeof text, 0) == 5);
  CHECK(std::string(text) == "hello");
  CHECK(port.refused().empty());
}

TEST_CASE("whoever shows something else is closed and named, and nothing of it comes through") {
  open_port port;
  const auto here = port.dial();
  say(here, std::vector<std::byte>(1'000, std::byte{7}));
  CHECK(closed(here.number));
  const auto shown = port.shown();
  const auto first = port.dial();
  say(first, shown);
  const auto through = port.take();
  const auto again = port.dial();
  say(again, shown); // the same proof a second time
  CHECK(closed(again.number));
  CHECK(port.quiet());
  REQUIRE(port.refused().size() == 2);
  CHECK(port.refused()[0] == "no proof that it holds this port's key");
}

TEST_CASE("whoever is silent is closed when the patience ends") {
  open_port port({.patience = 50ms});
  const auto here = port.dial();
  const auto shown = port.shown();
  say(here, std::span(shown).first(51));
  CHECK(closed(here.number));
  REQUIRE(port.refused().size() == 1);
  CHECK(port.refused()[0] == "no proof within 50 ms");
}

TEST_CASE("strangers take the place of older strangers, never of those who come with a proof") {
  open_port port({.connections = 4, .patience = 60s});
  std::vector<descriptor> strangers;
  for (int i = 0; i < 40; ++i)
    strangers.push_back(port.dial());
  for (int i = 0; i < 36; ++i) {
    CAPTURE(i);
    CHECK(closed(strangers[static_cast<std::size_t>(i)].number));
  }
  const auto member = port.dial();
  say(member, port.shown());
  const auto through = port.take();
  CHECK(port.refused().size() == 37);
  CHECK(port.refused()[0] == "more than 4 connections without a proof");
}

TEST_CASE("somebody who only looks whether the port is open is no refusal") {
  open_port port;
  { const auto look = port.dial(); }
  const auto member = port.dial();
  say(member, port.shown());
  const auto through = port.take(); // accepted after the look
  CHECK(port.refused().empty());
}

TEST_CASE("when the library closes its end, the port and all who wait are closed") {
  open_port port({.patience = 60s});
  const auto waiting = port.dial();
  const auto member = port.dial();
  say(member, port.shown());
  { const auto through = port.take(); }
  port.close_line();
  CHECK(port.closes());
  CHECK(closed(waiting.number));
}

} // namespace guarded_port_test
