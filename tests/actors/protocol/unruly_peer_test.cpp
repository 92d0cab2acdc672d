#include "actors/protocol/system.hpp"
#include "runtime/access/proof.hpp"
#include "runtime/access/socket_calls.hpp"
#include "runtime/cluster/credentials.hpp"
#include "tests/support/eventually.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

namespace unruly_peer_test {

using namespace millrace;
using namespace millrace::actors;

namespace {

/// Somebody who knows the secret and speaks TLS, and says something that is no word of an actor system.
/// @returns whether the other side closed the connection, within 10 s
bool says(const std::string& words, std::uint16_t port, const cluster::credentials& secret) {
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(port);
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* place = reinterpret_cast<const sockaddr*>(&where);
  const int number = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  REQUIRE(::connect(number, place, sizeof where) == 0);
  const auto proof = access::make_proof(secret.connection_key(), access::place_of(place));
  REQUIRE(::send(number, proof.data(), proof.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(proof.size()));
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  REQUIRE(SSL_CTX_use_certificate_file(context.get(), secret.files().certificate.c_str(), SSL_FILETYPE_PEM) == 1);
  REQUIRE(SSL_CTX_use_PrivateKey_file(context.get(), secret.files().key.c_str(), SSL_FILETYPE_PEM) == 1);
  const std::unique_ptr<SSL, decltype(&SSL_free)> session(SSL_new(context.get()), SSL_free);
  REQUIRE(SSL_set_fd(session.get(), number) == 1);
  REQUIRE(SSL_connect(session.get()) == 1);
  REQUIRE(SSL_write(session.get(), words.data(), static_cast<int>(words.size())) == static_cast<int>(words.size()));
  char answer[4096];
  int got = 0;
  do
    got = SSL_read(session.get(), answer, sizeof answer);
  while (got > 0); // its own handshake comes first
  const bool closed = errno != EAGAIN;
  ::close(number);
  return closed;
}

} // namespace

TEST_CASE("behind TLS too, a peer that knows the secret and announces what nobody sends is closed and named") {
  const cluster::credentials secret(cluster::root_of(std::vector<std::byte>(32, std::byte{7})));
  cluster::actor_options options;
  options.tls = secret.files();
  options.keys = {secret.connection_key()};
  tests::watched<std::string> told;
  access::tell_refusals([&](const std::string& line) { told.change([&](std::string& all) { all += line; }); });
  actor_system system(options);
  const auto who = system.start("listener", [](actor&, inbox&) {});
  const auto port = system.publish(who, {"127.0.0.1", 0}, encryption::mutual_tls);
  std::string greeting(32, '\0'); // a handshake whose payload has 64 KiB and 1 byte
  greeting[0] = 1;
  greeting[5] = 1;
  greeting[7] = 1;
  CHECK(says(greeting, port, secret));
  CHECK(told.wait([](const std::string& all) {
    return all.find(": a frame of kind 1 and 65537 bytes, at most 65536") != std::string::npos;
  }));
  access::tell_refusals(nullptr);
  end_actor(who);
}

} // namespace unruly_peer_test
