#include "runtime/transport/wire_format.hpp"

#include <doctest/doctest.h>

namespace wire_format_test {

using namespace millrace;
using namespace millrace::transport;

namespace {

std::vector<std::byte> some(std::size_t count, int first) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < count; ++i)
    bytes.push_back(static_cast<std::byte>(first + int(i)));
  return bytes;
}

} // namespace

TEST_CASE("a message's MAC covers every field, the payload and the key") {
  const auto payload = some(10, 1);
  const access::key256 key{std::byte{7}};
  message m;
  m.kind = message_kind::pull;
  m.from = 3;
  seal(m, key, payload);
  CHECK(sealed_with(m, key, payload));
  CHECK_FALSE(sealed_with(m, access::key256{}, payload));
  CHECK_FALSE(sealed_with(m, key, std::span(payload).first(9)));
  auto* bytes = reinterpret_cast<std::byte*>(&m);
  for (std::size_t i = 0; i < sizeof m; ++i) {
    bytes[i] ^= std::byte{1};
    CHECK_FALSE(sealed_with(m, key, payload));
    bytes[i] ^= std::byte{1};
  }
}

TEST_CASE("a header of another size or magic is no message") {
  message m;
  const auto bytes = std::as_bytes(std::span(&m, 1));
  CHECK(read_message(bytes));
  CHECK_FALSE(read_message(bytes.first(bytes.size() - 1)));
  CHECK_FALSE(read_message({}));
  m.magic ^= 1;
  CHECK_FALSE(read_message(bytes));
}

TEST_CASE("the replay window accepts every number once, late ones too, and nothing out of reach") {
  replay_window window;
  CHECK(window.accept(1));
  CHECK_FALSE(window.accept(1));
  CHECK(window.accept(5));
  CHECK(window.accept(3));
  CHECK_FALSE(window.accept(3));
  CHECK_FALSE(window.accept(5));
  const std::uint64_t far = 5 + 10 * replay_window::reach;
  CHECK(window.accept(far));
  CHECK_FALSE(window.accept(far));
  CHECK_FALSE(window.accept(far - replay_window::reach));
  CHECK(window.accept(far - replay_window::reach + 1));
  CHECK_FALSE(window.accept(4));
  for (std::uint64_t n = far + 1; n < far + 3 * replay_window::reach; ++n)
    REQUIRE(window.accept(n));
  for (std::uint64_t n = far + 2 * replay_window::reach; n < far + 3 * replay_window::reach; ++n)
    REQUIRE_FALSE(window.accept(n));
}

TEST_CASE("an address survives the wire, and no address with a byte missing, added or changed does") {
  const node_address address{42, some(100, 0), "host/door"};
  auto bytes = write(address);
  const auto back = read_address(bytes);
  REQUIRE(back);
  CHECK(back->life == 42);
  CHECK(back->ucx == address.ucx);
  CHECK(back->door == "host/door");
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    CHECK_FALSE(read_address(std::span(bytes).first(i)));
    bytes[i] ^= std::byte{0x80};
    CHECK_FALSE(read_address(bytes));
    bytes[i] ^= std::byte{0x80};
  }
  bytes.push_back({});
  CHECK_FALSE(read_address(bytes));
}

TEST_CASE("the places of wanted columns survive the wire, a bit each; those of another bundle do not") {
  const std::vector<std::size_t> places{0, 7, 8, 9};
  const auto bytes = write_places(places, 10);
  CHECK(bytes == std::vector{std::byte{0x81}, std::byte{0x03}});
  CHECK(read_places(bytes, 10) == places);
  CHECK(read_places(bytes, 16) == places);
  CHECK_FALSE(read_places(bytes, 9));
  CHECK_FALSE(read_places(bytes, 8));
  CHECK_FALSE(read_places(bytes, 17));
  CHECK(read_places({}, 3) == std::vector<std::size_t>{0, 1, 2});
}

TEST_CASE("a greeting survives the wire; a truncated one is none") {
  const greeting g{9, some(30, 1)};
  const auto bytes = write(g);
  const auto back = read_greeting(bytes);
  REQUIRE(back);
  CHECK(back->connection == 9);
  CHECK(back->address == g.address);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    CHECK_FALSE(read_greeting(std::span(bytes).first(i)));
}

} // namespace wire_format_test
