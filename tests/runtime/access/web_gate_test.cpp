#include "runtime/access/web_gate.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

namespace web_gate_test {

using namespace millrace;
using namespace millrace::access;

namespace {

const std::string token = "0123456789abcdef";

request_facts of_host(std::string_view host) {
  return {.method = "GET", .target = "/", .host = host, .origin = {}, .authorization = {}, .cookie = {}};
}

int status(const std::optional<web_refusal>& refused) {
  return refused ? refused->status : 200;
}

} // namespace

TEST_CASE("on loopback only names of loopback are taken as Host") {
  const web_gate g(*parse_listen_address("127.0.0.1:7070"), "");
  for (const auto* host : {"127.0.0.1:7070", "localhost:7070", "localhost", "127.0.0.1", "localhost:9000"})
    CHECK(status(g.refuses(of_host(host))) == 200);
  for (const auto* host : {"", "evil.example:7070", "10.0.0.1:7070", "127.0.0.1.evil.example", "localhost.evil.example",
                           "127.0.0.1:7070.evil.example", "127.0.0.1:", "localhost:x", "localhost:700000"})
    CHECK(status(g.refuses(of_host(host))) == 421);
}

TEST_CASE("loopback of IPv6 is taken as that of IPv4 is, with and without a port") {
  const web_gate g(*parse_listen_address("[::1]:7070"), "");
  for (const auto* host : {"[::1]:7070", "[::1]", "[0:0::1]:7070", "localhost:7070", "127.0.0.1:7070"})
    CHECK(status(g.refuses(of_host(host))) == 200);
  for (const auto* host : {"[::2]:7070", "::1", "[::1", "[::1]x:7070", "[::1].evil.example", "[]:7070", "[:7070", "["})
    CHECK(status(g.refuses(of_host(host))) == 421);
  const web_gate open(*parse_listen_address("[::]:7070"), token);
  CHECK(status(open.refuses(of_host("[fd00::2]:7070"))) == 401);
}

TEST_CASE("another site's Origin is refused, the own one is not") {
  const web_gate g(*parse_listen_address("127.0.0.1:7070"), "");
  auto request = of_host("127.0.0.1:7070");
  request.origin = "http://127.0.0.1:7070";
  CHECK(status(g.refuses(request)) == 200);
  for (const auto* origin : {"http://evil.example", "null", "https://127.0.0.1:7070", "http://127.0.0.1:7071"}) {
    request.origin = origin;
    CHECK(status(g.refuses(request)) == 403);
  }
}

TEST_CASE("nothing but GET and HEAD is taken") {
  const web_gate g(*parse_listen_address("127.0.0.1:7070"), "");
  for (const auto* method : {"POST", "PUT", "DELETE", "OPTIONS", "CONNECT", ""}) {
    auto request = of_host("localhost");
    request.method = method;
    CHECK(status(g.refuses(request)) == 405);
  }
}

TEST_CASE("with a token every route wants it, as a bearer or as the cookie that the first visit sets") {
  const web_gate g(*parse_listen_address("0.0.0.0:7070"), token);
  auto request = of_host("10.0.0.7:7070");
  CHECK(status(g.refuses(request)) == 401);
  const std::string right = "Bearer " + token, wrong = "Bearer 0123456789abcdeg", shorter = "Bearer 0123456789abcde";
  request.authorization = right;
  CHECK(status(g.refuses(request)) == 200);
  for (const auto& shown : {wrong, shorter, token, std::string("Bearer ")}) {
    request.authorization = shown;
    CHECK(status(g.refuses(request)) == 401);
  }
  request.authorization = {};
  const std::string cookie = "a=b; " + g.cookie().substr(0, g.cookie().find(';')), target = "/?token=" + token;
  request.cookie = cookie;
  CHECK(status(g.refuses(request)) == 200);
  request.cookie = "millrace_token=";
  CHECK(status(g.refuses(request)) == 401);
  request.target = target;
  CHECK(g.opens(request));
  request.target = "/?token=";
  CHECK_FALSE(g.opens(request));
}

TEST_CASE("an address to listen at is dotted, or IPv6 in brackets, with a port") {
  CHECK(parse_listen_address("[::1]:7070") == listen_address{"::1", 7070});
  CHECK(parse_listen_address("[0:0:0:0:0:0:0:1]:7070") == listen_address{"::1", 7070});
  CHECK(parse_listen_address("[::1]:7070")->is_loopback());
  CHECK(parse_listen_address("[::1]:7070")->host_in_url() == "[::1]");
  CHECK_FALSE(parse_listen_address("[::]:7070")->is_loopback());
  CHECK_FALSE(parse_listen_address("[::ffff:127.0.0.1]:7070")->is_loopback());
  CHECK(parse_listen_address("localhost:0") == listen_address{"127.0.0.1", 0});
  CHECK(parse_listen_address("0.0.0.0:65535") == listen_address{"0.0.0.0", 65535});
  for (const auto* text : {"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.256:1",
                           "127.0.0:1", "1.2.3.4.5:1", "host:1", "127..0.1:1", "127.0.0.1:1 ", "127.0.0.1x:1", "::1:1",
                           "[::1]", "[::1:1", "[]:1", "[::g]:1", "[fe80::1%lo]:1"})
    CHECK_FALSE(parse_listen_address(text));
}

TEST_CASE("an interface for programs takes GET and POST, and its token in Authorization alone") {
  const web_gate g(*parse_listen_address("127.0.0.1:8000"), token, web_face::api);
  request_facts request{.method = "POST", .target = "/v1/completions", .host = "127.0.0.1:8000"};
  CHECK(status(g.refuses(request)) == 401);
  const std::string cookie = "millrace_token=" + token, bearer = "Bearer " + token;
  request.cookie = cookie;
  CHECK(status(g.refuses(request)) == 401);
  request.authorization = bearer;
  CHECK(status(g.refuses(request)) == 200);
  request.origin = "http://evil.example";
  CHECK(status(g.refuses(request)) == 403);
  request.origin = {};
  request.method = "PUT";
  CHECK(status(g.refuses(request)) == 405);
  const std::string opening = "/?token=" + token;
  CHECK(!g.opens({.method = "GET", .target = opening, .host = "127.0.0.1:8000"}));
}

TEST_CASE("a token file holds one line of letters and digits") {
  const tests::temporary_folder folder;
  tests::write_file(folder / "good", "0123456789abcdef\n");
  CHECK(read_token(folder / "good") == "0123456789abcdef");
  for (const auto* text : {"", "short", "0123456789abcdef; x", "0123456789\nabcdef"}) {
    tests::write_file(folder / "bad", text);
    CHECK_THROWS_AS(read_token(folder / "bad"), input_error);
  }
  CHECK_THROWS_AS(read_token(folder / "none"), input_error);
}

} // namespace web_gate_test
