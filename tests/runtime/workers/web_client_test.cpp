#include "runtime/words/enum_words.hpp"
#include "runtime/words/input_error.hpp"
#include "runtime/workers/web_client.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/web_server.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

namespace web_client_test {

using namespace millrace;
using namespace millrace::workers;
using tests::test_reply;
using tests::test_request;
using tests::test_server;

namespace {

constexpr std::chrono::seconds patience{20};

std::chrono::steady_clock::time_point in(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

/// The body of an answer, or "kind: line", with " (again)" where another try is worth it.
std::string asked(web_client& client, std::chrono::milliseconds within = patience, const std::string& body = "{}") {
  try {
    return client.post(body, in(within));
  } catch (const web_failure& failure) {
    return word(failure.kind) + ": " + failure.what() + (failure.worth_asking ? " (again)" : "");
  }
}

std::string asked_once(test_reply reply, std::chrono::milliseconds within = patience) {
  test_server server([&](const test_request&) { return reply; });
  web_client client({.address = web_address_from(server.url())});
  return asked(client, within);
}

} // namespace

TEST_CASE("a question is posted with its token, and the connection kept for the next one") {
  test_server server([](const test_request& r) { return test_reply{.body = r.target + r.authorization + r.body}; });
  web_client client({.address = web_address_from(server.url() + "?a=b"), .token = "secret-1"});
  CHECK(asked(client, patience, "[1]") == "/score?a=bBearer secret-1[1]");
  CHECK(asked(client, patience, "[2]") == "/score?a=bBearer secret-1[2]");
  CHECK(server.connections() == 1);
  client.connect(in(patience));
  CHECK(asked(client) == "/score?a=bBearer secret-1{}");
  CHECK(server.connections() == 2);
}

TEST_CASE("a client that is closed ends what it has asked, and asks no more") {
  std::atomic<bool> heard = false;
  test_server server([&](const test_request&) {
    heard = true;
    return test_reply{.hangs = true};
  });
  web_client client({.address = web_address_from(server.url())});
  std::string said;
  std::thread asks([&] { said = asked(client); });
  while (!heard)
    std::this_thread::yield();
  const auto before = std::chrono::steady_clock::now();
  client.close();
  asks.join();
  CHECK(said == "timeout: no answer before the deadline");
  CHECK(asked(client) == "timeout: no answer before the deadline");
  CHECK(std::chrono::steady_clock::now() - before < patience / 2);
  CHECK(server.requests() == 1);
}

TEST_CASE("a connection that the server closed while nobody asked is not held against it") {
  test_server server([](const test_request&) { return test_reply{.body = "1", .closes = true}; });
  web_client client({.address = web_address_from(server.url())});
  for (int i = 0; i < 4; ++i)
    CHECK(asked(client) == "1");
  CHECK(server.requests() == 4);
}

TEST_CASE("what a server says before its answer is passed over") {
  const std::string interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  CHECK(asked_once({.raw = interim + "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n0.5"}) == "0.5");
  CHECK(asked_once({.raw = interim + "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"})
        == "refused: the server answered 429 Too Many Requests (again)");
  CHECK(asked_once({.raw = interim}).starts_with("malformed: half an answer: "));
  CHECK(asked_once({.raw = interim, .hangs = true}, std::chrono::milliseconds(200))
        == "timeout: no answer before the deadline");
  CHECK(asked_once({.raw = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"})
        == "refused: the server answered 101 Switching Protocols");
}

TEST_CASE("a question that a server began to work on is not asked again by itself") {
  std::atomic<int> asked_so_far = 0;
  test_server server([&](const test_request&) {
    return asked_so_far++ == 0 ? test_reply{.body = "1"} : test_reply{.raw = "HTTP/1.1 100 Continue\r\n\r\n"};
  });
  web_client client({.address = web_address_from(server.url())});
  CHECK(asked(client) == "1"); // the connection is kept
  CHECK(asked(client).starts_with("malformed: half an answer: "));
  CHECK(server.requests() == 2);
}

TEST_CASE("whatever a server does instead of answering is a failure of its kind") {
  CHECK(asked_once({.status = 500}) == "crash: the server answered 500 Internal Server Error (again)");
  CHECK(asked_once({.status = 503}) == "crash: the server answered 503 Service Unavailable (again)");
  CHECK(asked_once({.status = 429}) == "refused: the server answered 429 Too Many Requests (again)");
  CHECK(asked_once({.status = 403}) == "refused: the server answered 403 Forbidden");
  CHECK(asked_once({.status = 302, .location = "http://127.0.0.1:1/"})
        == "refused: the server answered 302 Found, and redirects are not followed");
  CHECK(asked_once({.hangs = true}, std::chrono::milliseconds(200)) == "timeout: no answer before the deadline");
  CHECK(asked_once({.raw = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", .hangs = true},
                   std::chrono::milliseconds(200))
        == "timeout: no answer before the deadline");
  CHECK(asked_once({.raw = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"rew"})
            .starts_with("malformed: half an answer: "));
  CHECK(asked_once({.raw = "HTTP/1.1 200 OK\r\nContent-Le"}).starts_with("malformed: half an answer: "));
  CHECK(asked_once({.raw = "SSH-2.0-OpenSSH_9.2\r\n"}).starts_with("malformed: no HTTP answer: "));
  CHECK(asked_once({.body = std::string(web_client::longest_answer + 1, ' ')})
        == "malformed: an answer of more than 16777216 bytes");
  CHECK(asked_once({.raw = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx"})
        == "malformed: an answer of more than 16777216 bytes");
}

TEST_CASE("where nobody listens the question is refused, and worth another try") {
  web_client client({.address = web_address_from("http://127.0.0.1:1/")});
  CHECK(asked(client) == "refused: cannot connect to 127.0.0.1:1: Connection refused (again)");
  CHECK_THROWS_AS(client.connect(in(patience)), web_failure);
}

TEST_CASE("over https the certificate must be one that can be verified, of that host") {
  const tests::test_certificate own("localhost"), other("example.org");
  const tests::temporary_folder folder;
  tests::write_file(folder / "ca.pem", own.certificate);
  tests::write_file(folder / "other.pem", other.certificate);
  const auto answer = [](const test_request&) { return test_reply{.body = "1"}; };
  test_server server(answer, &own), of_another(answer, &other);
  const auto client_of = [&](const test_server& s, const std::filesystem::path& ca) {
    return std::make_unique<web_client>(web_server{.address = web_address_from(s.url()), .token = "t", .ca_file = ca});
  };
  const auto trusting = client_of(server, folder / "ca.pem");
  CHECK(asked(*trusting) == "1");
  CHECK(asked(*trusting) == "1");
  CHECK(server.connections() == 1);
  CHECK(asked(*client_of(server, "")).find("certificate verify failed") != std::string::npos);
  CHECK(asked(*client_of(server, folder / "other.pem")).starts_with("refused: no TLS with localhost:"));
  CHECK(asked(*client_of(of_another, folder / "other.pem")).find("certificate verify failed") != std::string::npos);
  CHECK(of_another.requests() == 0); // nothing was told to a server that may be anybody
  CHECK_THROWS_AS(client_of(server, folder / "none.pem"), input_error);
}

TEST_CASE("a token is read from a file that others cannot read, and holds nothing that ends a header") {
  const tests::temporary_folder folder;
  const auto file = folder / "token";
  const auto with = [&](const std::string& text, std::filesystem::perms more = {}) {
    tests::write_file(file, text);
    std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write | more);
    return bearer_token(file);
  };
  CHECK(with("abc.DEF-1\n") == "abc.DEF-1");
  CHECK_THROWS_WITH_AS(
      with("abc", std::filesystem::perms::others_read),
      (file.string() + ": everybody on this machine may read it, want a token that others cannot read (chmod o-rwx)")
          .c_str(),
      input_error);
  for (const auto& bad : {std::string(), std::string("\n"), std::string("a b"), std::string("a\r\nX: y"),
                          std::string("a\0b", 3), std::string(5000, 'a')})
    CHECK_THROWS_AS(with(bad), input_error);
  CHECK_THROWS_AS(bearer_token(folder / "none"), input_error);
  CHECK_THROWS_AS(bearer_token(folder / "."), input_error);
}

} // namespace web_client_test
