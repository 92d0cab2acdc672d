#include "runtime/access/hmac.hpp"
#include "runtime/access/proof.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

namespace proof_test {

using namespace millrace::access;

namespace {

place at(const char* address, std::uint16_t port) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  REQUIRE(inet_pton(AF_INET, address, &v4.sin_addr) == 1);
  return place_of(reinterpret_cast<const sockaddr*>(&v4));
}

} // namespace

TEST_CASE("a place is the address as IPv6 and the port, as on the wire") {
  const auto v4 = at("10.0.0.2", 7000); // 7000 = 0x1b58
  const unsigned char wanted[18] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 2, 0x1b, 0x58};
  CHECK(std::memcmp(v4.data(), wanted, sizeof wanted) == 0);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(7000);
  REQUIRE(inet_pton(AF_INET6, "::ffff:10.0.0.2", &v6.sin6_addr) == 1);
  CHECK(place_of(reinterpret_cast<const sockaddr*>(&v6)) == v4); // one and the same host
  sockaddr unknown{};
  unknown.sa_family = AF_UNIX;
  CHECK(place_of(&unknown) == place{});
}

TEST_CASE("a proof is the mark, 16 random bytes and their tag with the place") {
  const auto key = random_key();
  const auto where = at("127.0.0.1", 80);
  const auto made = make_proof(key, where);
  CHECK(std::memcmp(made.data(), "MLR1", 4) == 0);
  std::vector<std::byte> message(made.begin() + 4, made.begin() + 20);
  message.insert(message.end(), where.begin(), where.end());
  const auto tag = hmac_sha256(key, message);
  CHECK(std::equal(tag.begin(), tag.end(), made.begin() + 20));
  CHECK(make_proof(key, where) != made);
}

TEST_CASE("a proof is good for any of the book's keys") {
  const auto a = random_key(), b = random_key();
  const auto where = at("127.0.0.1", 80);
  proof_book book({a, b});
  CHECK(book.accept(make_proof(a, where), where));
  CHECK(book.accept(make_proof(b, where), where));
  CHECK_FALSE(book.accept(make_proof(random_key(), where), where));
  CHECK_FALSE(proof_book({}).accept(make_proof(a, where), where));
}

TEST_CASE("a proof is good once and in one place") {
  const auto key = random_key();
  const auto where = at("127.0.0.1", 80);
  proof_book book({key});
  const auto shown = make_proof(key, where);
  CHECK_FALSE(book.accept(shown, at("127.0.0.1", 81)));
  CHECK_FALSE(book.accept(shown, at("127.0.0.2", 80)));
  CHECK(book.accept(shown, where));
  CHECK_FALSE(book.accept(shown, where));
}

TEST_CASE("a proof with any bit changed is none") {
  const auto key = random_key();
  const auto where = at("127.0.0.1", 80);
  proof_book book({key});
  const auto shown = make_proof(key, where);
  for (std::size_t bit = 0; bit < 8 * proof_bytes; ++bit) {
    auto changed = shown;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    CAPTURE(bit);
    REQUIRE_FALSE(book.accept(changed, where));
  }
  CHECK(book.accept(shown, where));
}

} // namespace proof_test
