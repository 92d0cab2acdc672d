#include "runtime/watch/server.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/watch/watched_example.hpp"
#include "tests/support/running_command.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <memory>
#include <vector>

namespace watch_server_test {

using namespace millrace;
using namespace millrace::watch;
using namespace millrace::tests;

namespace {

/// A connection that says what it is told to, byte for byte.
class visitor {
public:
  explicit visitor(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    where.sin_port = htons(port);
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0);
  }

  ~visitor() { ::close(socket_); }

  visitor(const visitor&) = delete;
  visitor& operator=(const visitor&) = delete;

  void say(const std::string& text) { CHECK(::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) > 0); }

  /// What came until `holds`, the end of the connection or the deadline.
  const std::string& hear(const std::function<bool(const std::string&)>& holds, int deadline_ms = 10'000) {
    pollfd ready{.fd = socket_, .events = POLLIN, .revents = 0};
    while (!ended_ && !holds(heard_) && ::poll(&ready, 1, deadline_ms) == 1) {
      char part[4096];
      const auto bytes = ::recv(socket_, part, sizeof part, 0);
      ended_ = bytes <= 0;
      heard_.append(part, static_cast<std::size_t>(std::max<ssize_t>(bytes, 0)));
    }
    return heard_;
  }

  const std::string& hear_all() {
    return hear([](const std::string&) { return false; });
  }

  bool ended() const { return ended_; }

  /// Says one more byte. @returns whether nobody has closed the connection yet
  bool is_heard() { return ::send(socket_, "x", 1, MSG_NOSIGNAL) == 1; }

  /// Until the connection is reset, at most so long.
  void wait_for_change(int at_most_ms) {
    pollfd reset{.fd = socket_, .events = 0, .revents = 0};
    ::poll(&reset, 1, at_most_ms);
  }

private:
  int socket_;
  std::string heard_;
  bool ended_ = false;
};

std::string get(std::uint16_t port, const std::string& path, const std::string& fields = "Host: localhost\r\n") {
  visitor v(port);
  v.say("GET " + path + " HTTP/1.1\r\n" + fields + "Connection: close\r\n\r\n");
  return v.hear_all();
}

struct watched {
  temporary_folder folder;
  server s;

  explicit watched(server_options options = {.at = {"127.0.0.1", 0}, .token = ""}) : s(std::move(options)) {
    write_watched_run(folder.path());
    s.start([path = folder.path()] { return path; });
  }
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("every route answers, and every other is not found") {
  const watched w;
  const auto port = w.s.port();
  CHECK(get(port, "/healthz").starts_with("HTTP/1.1 200"));
  CHECK(has(get(port, "/status.json"), "\"state\": \"running\""));
  CHECK(has(get(port, "/metrics"), "millrace_step 2\n"));
  CHECK(has(get(port, "/"), "Warnings and errors"));
  CHECK(has(get(port, "/"), "script-src 'nonce-"));
  CHECK(get(port, "/graph.svg").starts_with("HTTP/1.1 200"));
  for (const auto* path : {"/x", "/../etc/passwd", "//", "/resolved.toml", "/status.json/"})
    CHECK(get(port, path).starts_with("HTTP/1.1 404"));
}

TEST_CASE("the gate stands before every route") {
  const watched w({.at = {"127.0.0.1", 0}, .token = "0123456789abcdef"});
  const auto port = w.s.port();
  for (const auto* path : {"/", "/events", "/metrics", "/status.json", "/healthz", "/graph.svg", "/x"}) {
    CAPTURE(path);
    CHECK(get(port, path).starts_with("HTTP/1.1 401"));
    CHECK(get(port, path, "Host: evil.example\r\n").starts_with("HTTP/1.1 421"));
    CHECK(get(port, path, "Host: localhost\r\nOrigin: http://evil.example\r\n").starts_with("HTTP/1.1 403"));
  }
  CHECK(get(port, "/metrics", "Host: localhost\r\nAuthorization: Bearer 0123456789abcdef\r\n")
            .starts_with("HTTP/1.1 200"));
  const auto opened = get(port, "/?token=0123456789abcdef");
  CHECK(opened.starts_with("HTTP/1.1 303"));
  CHECK(has(opened, "Set-Cookie: millrace_token=0123456789abcdef; HttpOnly; SameSite=Strict; Path=/\r\n"));
}

TEST_CASE("a reader of events is told every part, and within a second each that is new") {
  const watched w;
  visitor v(w.s.port());
  v.say("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(has(v.hear([](const std::string& text) { return has(text, "\"id\":\"failures\""); }), "\"id\":\"curves\""));
  const auto before = v.hear([](const std::string& text) { return text.ends_with("\n\n"); }).size();
  const auto start = std::chrono::steady_clock::now();
  append_step(w.folder.path(), 3);
  const auto& told = v.hear([&](const std::string& text) { return has(text.substr(before), "\"id\":\"curves\""); });
  CHECK(has(told.substr(before), "\"id\":\"curves\""));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(1));
  CHECK_FALSE(has(told.substr(before), "\"id\":\"ledger\""));
}

TEST_CASE("what is no request, or too slow, is closed") {
  const watched w({.at = {"127.0.0.1", 0}, .token = "", .patience = std::chrono::milliseconds(300)});
  for (const auto& words : {std::string("\x16\x03\x01garbage\r\n\r\n"), std::string("GET / HT"),
                            std::string("GET / HTTP/1.1\r\nHost: lo")}) {
    visitor v(w.s.port());
    v.say(words);
    CHECK(v.hear_all() == "");
    CHECK(v.ended());
  }
  CHECK(get(w.s.port(), "/healthz").starts_with("HTTP/1.1 200"));
}

TEST_CASE("a request with a body or too long a head is told so, and its connection ends") {
  const watched w({.at = {"127.0.0.1", 0}, .token = ""});
  const auto told = [&](const std::string& words) {
    visitor v(w.s.port());
    v.say(words);
    const auto heard = v.hear_all();
    CHECK(v.ended());
    CHECK(has(heard, "Connection: close\r\n"));
    return heard.substr(0, heard.find('\r')) + heard.substr(heard.find("\r\n\r\n") + 3);
  };
  const std::string host = "Host: localhost\r\n", length = "Content-Length: 5\r\n\r\n";
  const std::string method = "HTTP/1.1 405 Method Not Allowed\nwant GET or HEAD\n";
  CHECK(told("POST / HTTP/1.1\r\n" + host + length + "hello") == method);
  CHECK(told("POST / HTTP/1.1\r\n" + host + length) == method); // nobody waits for the body
  CHECK(told("POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n") == method);
  CHECK(told("PUT / HTTP/1.1\r\n" + host + "Content-Length: 99999999999\r\n\r\n" + std::string(100'000, 'x'))
        == method);
  const std::string body = "HTTP/1.1 413 Payload Too Large\nwant a request without a body\n";
  CHECK(told("GET / HTTP/1.1\r\n" + host + length + "hello") == body);
  CHECK(told("GET /events HTTP/1.1\r\n" + host + length + "hello") == body);
  const std::string head =
      "HTTP/1.1 431 Request Header Fields Too Large\nwant a request's line and fields in 8192 bytes\n";
  CHECK(told("GET / HTTP/1.1\r\nHost: " + std::string(9'000, 'x')) == head);
  CHECK(told("GET /" + std::string(100'000, 'x') + " HTTP/1.1\r\n" + host + "\r\n") == head);
  CHECK(get(w.s.port(), "/healthz").starts_with("HTTP/1.1 200"));
}

TEST_CASE("a refused visitor who goes on talking is closed after the patience that every answer has") {
  const watched w({.at = {"127.0.0.1", 0}, .token = "", .patience = std::chrono::milliseconds(300)});
  visitor v(w.s.port());
  v.say("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhello");
  CHECK(v.hear_all().starts_with("HTTP/1.1 405"));
  for (const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
       v.is_heard() && std::chrono::steady_clock::now() < until;)
    v.wait_for_change(10);
  CHECK_FALSE(v.is_heard());
}

TEST_CASE("half-open connections make room for others, and event streams have a cap of their own") {
  const watched w({.at = {"127.0.0.1", 0}, .token = "", .connections = 4, .streams = 2});
  std::vector<std::unique_ptr<visitor>> half_open;
  for (int i = 0; i < 40; ++i)
    half_open.push_back(std::make_unique<visitor>(w.s.port()));
  CHECK(get(w.s.port(), "/healthz").starts_with("HTTP/1.1 200"));
  for (auto& v : half_open)
    if (&v - half_open.data() < 30) {
      v->hear_all();
      CHECK(v->ended());
    }
  std::vector<std::unique_ptr<visitor>> readers;
  for (int i = 0; i < 3; ++i) {
    readers.push_back(std::make_unique<visitor>(w.s.port()));
    readers.back()->say("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    readers.back()->hear([](const std::string& text) { return has(text, "\r\n\r\n"); });
  }
  CHECK(has(readers[1]->hear([](const std::string& text) { return has(text, "event:"); }), "event: section"));
  CHECK(has(readers[2]->hear([](const std::string& text) { return has(text, "\r\n\r\n"); }), "HTTP/1.1 503"));
}

TEST_CASE("an address of IPv6 is served, where the host has it, and told in brackets") {
  const auto has_ip6 = [] {
    const int socket = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in6 at{};
    at.sin6_family = AF_INET6;
    at.sin6_addr = in6addr_loopback;
    const bool bound = ::bind(socket, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
    ::close(socket);
    return bound;
  };
  if (!has_ip6()) {
    MESSAGE("skipped: this host has no ::1");
    return;
  }
  const watched w({.at = {"::1", 0}, .token = ""});
  CHECK(w.s.url() == "http://[::1]:" + std::to_string(w.s.port()) + "/");
  running_command asked({"/usr/bin/env", "python3", "-c",
                         "import sys, urllib.request\n"
                         "print(urllib.request.urlopen(sys.argv[1] + 'healthz', timeout=10).read().decode())",
                         w.s.url()});
  CHECK(asked.wait(20).status == 0);
  CHECK(asked.out() == "ok\n\n");
}

TEST_CASE("a port that is taken is said in one line") {
  const watched w;
  CHECK_THROWS_WITH_AS(server({.at = {"127.0.0.1", w.s.port()}, .token = ""}),
                       ("cannot listen on 127.0.0.1:" + std::to_string(w.s.port())
                        + " (Address already in use): want an address of this host and a free port")
                           .c_str(),
                       input_error);
}

} // namespace watch_server_test
