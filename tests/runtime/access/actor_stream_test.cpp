#include "runtime/access/actor_stream.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace actor_stream_test {

using namespace millrace::access;

namespace {

enum operation : std::uint8_t { hello = 1, direct = 2, routed = 3, notice = 4, lost = 5, beat = 6 };

/// `bytes` of a number, big endian.
std::string number(std::uint64_t value, int bytes) {
  std::string text;
  while (bytes-- > 0)
    text += static_cast<char>(value >> 8 * bytes);
  return text;
}

std::string header(std::uint8_t kind, std::uint64_t payload) {
  return number(kind, 1) + number(0, 3) + number(payload, 4) + number(0, 8) + number(7, 8) + number(9, 8);
}

std::string frame(std::uint8_t kind, const std::string& payload) {
  return header(kind, payload.size()) + payload;
}

/// A text of less than 128 bytes, as CAF writes it.
std::string text(const std::string& words) {
  return number(words.size(), 1) + words;
}

/// No stages, and a message of that content.
std::string message(const std::string& content, const std::string& rest = "rest") {
  return number(0, 1) + number(0, 2) + text(content) + rest;
}

const std::string node = std::string("\0\0\0\x0d\xef\x5e\xce\xb4", 8) + std::string(24, 'n');

std::string take(actor_stream& stream, std::string_view bytes) {
  return stream.take({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
}

std::string after_hello(const std::string& bytes) {
  actor_stream stream(true);
  CHECK(take(stream, frame(hello, "me")).empty());
  return take(stream, bytes);
}

} // namespace

TEST_CASE("what processes of a run say to each other passes, in pieces of any size") {
  const auto all = frame(hello, "me") + frame(beat, "") + frame(direct, message("@<>+envelope"))
                   + frame(routed, node + std::string(8, '\0') + message("@<>+@error")) + frame(notice, node)
                   + frame(lost, node) + frame(direct, message("@<>+envelope", std::string(5'000, 'x')));
  for (const std::size_t piece : {std::size_t{1}, std::size_t{31}, std::size_t{33}, all.size()}) {
    CAPTURE(piece);
    actor_stream stream(true);
    for (std::size_t at = 0; at < all.size(); at += piece)
      CHECK(take(stream, std::string_view(all).substr(at, piece)).empty());
    CHECK(stream.promised() == 0);
  }
}

TEST_CASE("nothing comes before a handshake, and a handshake is short") {
  actor_stream stream(true);
  CHECK(take(stream, header(beat, 0)) == "a frame of kind 6 before a handshake");
  actor_stream another(true);
  CHECK(take(another, header(hello, (64 << 10) + 1)) == "a frame of kind 1 and 65537 bytes, at most 65536");
}

TEST_CASE("a length is judged when it is announced, before its bytes") {
  CHECK(after_hello(header(direct, longest_message)).empty());
  CHECK(after_hello(header(direct, longest_message + 1)) == "a frame of kind 2 and 67108865 bytes, at most 67108864");
  CHECK(after_hello(header(beat, 1)) == "a frame of kind 6 and 1 bytes, at most 0");
  CHECK(after_hello(header(notice, 4'097)) == "a frame of kind 4 and 4097 bytes, at most 4096");
  CHECK(after_hello(header(lost, 16'385)) == "a frame of kind 5 and 16385 bytes, at most 16384");
  CHECK(after_hello(header(7, 0)) == "a frame of kind 7, which CAF does not have");
  actor_stream stream(true);
  take(stream, frame(hello, "me") + header(direct, 1'000) + std::string(10, '\0'));
  CHECK(stream.promised() == 990);
}

TEST_CASE("only what a process of a run sends is read, however CAF would read the rest") {
  const std::string other = "a message of a type that no process of a run sends here";
  CHECK(after_hello(frame(direct, message("@<>+@message"))) == other);
  CHECK(after_hello(frame(direct, message("@<>+envelope+envelope"))) == other);
  CHECK(after_hello(frame(direct, message("@<>"))) == other);
  CHECK(after_hello(frame(routed, node + node + message("@<>+@down"))) == other);
  actor_stream dialled(false); // where this process has connected to, the run may end its roles
  CHECK(take(dialled, frame(hello, "me") + frame(direct, message("@<>+@exit"))).empty());
  CHECK(after_hello(frame(direct, message("@<>+@exit"))) == other);
  const std::string malformed = "a message that is not laid out as CAF's";
  CHECK(after_hello(frame(direct, "x")) == malformed);
  CHECK(after_hello(frame(direct, number(1, 1) + message("@<>+envelope"))) == malformed); // a stage
  CHECK(after_hello(frame(routed, message("@<>+envelope"))) == malformed);
  CHECK(after_hello(frame(direct, message("@<>+@error", std::string(16 << 10, 'x'))))
        == "an error of 16398 bytes, at most 16384");
}

} // namespace actor_stream_test
