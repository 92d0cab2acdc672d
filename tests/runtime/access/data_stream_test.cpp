#include "runtime/access/checked_streams.hpp"
#include "runtime/access/data_stream.hpp"
#include "tests/runtime/access/data_frames.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace data_stream_test {

using namespace millrace::access;
using namespace millrace::access::testing;

namespace {

constexpr std::uint8_t get = 18;

const std::string request = frame(connection, number(1, 4) + std::string(25, 'a'));

/// A message whose own header has that many bytes.
std::string message_with(std::uint64_t header_bytes, std::size_t bytes) {
  return frame(message, number(1, 2) + number(0, 2) + number(header_bytes, 4) + std::string(bytes, 'm'));
}

/// A message of `total` bytes begins with `bytes` of them.
std::string first_part(std::uint64_t id, std::uint64_t total, std::size_t bytes) {
  return frame(message_begins,
               number(0, 8) + std::string(bytes, 'm') + number(id, 8) + number(5, 8) + number(total, 8));
}

std::string next_part(std::uint64_t id, std::uint64_t offset, std::size_t bytes, std::uint64_t endpoint = 5) {
  return frame(message_goes_on, number(offset, 8) + std::string(bytes, 'm') + number(id, 8) + number(endpoint, 8));
}

std::string put_at(std::uint64_t address, std::uint64_t bytes) {
  return frame(put, number(address, 8) + number(bytes, 8) + number(1, 4));
}

bool from_100_to_200(std::uint64_t address, std::uint64_t bytes) {
  return address >= 100 && address <= 200 && bytes <= 200 - address;
}

std::string take(data_stream& stream, std::string_view bytes) {
  return stream.take(bytes_of(bytes));
}

std::string after_request(const std::string& bytes) {
  data_stream stream(true, from_100_to_200);
  CHECK(take(stream, magic + request).empty());
  return take(stream, bytes);
}

} // namespace

TEST_CASE("what a data plane says passes, in pieces of any size, also the bytes of a put") {
  const auto all = magic + request + message_with(0, 0) + message_with(5, 100) + put_at(110, 90) + std::string(90, 'p')
                   + first_part(3, 100, 60) + first_part(4, 70, 70) + next_part(3, 60, 30) + next_part(3, 90, 10)
                   + header(keep_alive, 0) + put_at(200, 0) + frame(connection, number(4, 4));
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{64}, all.size()}) {
    CAPTURE(piece);
    data_stream stream(true, from_100_to_200);
    for (std::size_t at = 0; at < all.size(); at += piece)
      CHECK(take(stream, std::string_view(all).substr(at, piece)).empty());
    CHECK(stream.promised() == 0);
  }
}

TEST_CASE("parts of a message stay within it, and what a first part announces is bounded and counted") {
  const std::string none = "a part of 10 bytes that belongs to no message";
  CHECK(after_request(next_part(3, 0, 10)) == none);
  CHECK(after_request(first_part(3, 100, 60) + next_part(4, 60, 10)) == none);
  CHECK(after_request(first_part(3, 100, 60) + next_part(3, 60, 10, 7)) == none); // of another endpoint's message
  CHECK(after_request(first_part(3, 100, 60) + next_part(3, 91, 10)) == none);
  CHECK(after_request(first_part(3, 100, 91) + next_part(3, 0, 10)) == none);
  CHECK(after_request(first_part(3, 100, 60) + next_part(3, 60, 40) + next_part(3, 60, 10)) == none);
  CHECK(after_request(first_part(3, (16 << 20) + 1, 10)) == "a message in parts of 16777217 bytes, at most 16777216");
  CHECK(after_request(first_part(3, 100, 60) + first_part(3, 100, 60))
        == "more messages in parts than a process of a run sends at once");
  data_stream stream(true, from_100_to_200);
  CHECK(take(stream, magic + request + first_part(3, 1'000, 60)).empty());
  CHECK(stream.promised() == 940);
}

TEST_CASE("from a frame's first byte to its last UCX holds a buffer of 128 KiB") {
  data_stream stream(true, from_100_to_200);
  CHECK(stream.promised() == 0);
  CHECK(take(stream, magic.substr(0, 1)).empty());
  CHECK(stream.promised() == 128 << 10);
  CHECK(take(stream, magic.substr(1) + request).empty());
  CHECK(stream.promised() == 0);
  CHECK(take(stream, message_with(0, 100).substr(0, 112)).empty()); // of 113
  CHECK(stream.promised() == 128 << 10);
  CHECK(take(stream, "m").empty());
  CHECK(stream.promised() == 0);
}

TEST_CASE("whoever has connected says UCX's beginning and asks for a connection first") {
  data_stream stream(true, from_100_to_200);
  CHECK(take(stream, std::string(8, 'x')) == "a beginning that is not UCX's");
  data_stream another(true, from_100_to_200);
  CHECK(take(another, magic + header(message, 100)) == "a frame of kind 23 before it asked for a connection");
  data_stream own(false, from_100_to_200); // this process has connected: the answer has no beginning
  CHECK(take(own, frame(connection, number(2, 4))).empty());
}

TEST_CASE("a frame fits UCX's buffer and its kind") {
  CHECK(after_request(header(message, longest_data_frame)).empty());
  CHECK(after_request(header(message, longest_data_frame + 1)) == "a frame of kind 23 and 65537 bytes");
  CHECK(after_request(header(message, 7)) == "a frame of kind 23 and 7 bytes");
  CHECK(after_request(header(keep_alive, 1)) == "a frame of kind 35 and 1 bytes");
  CHECK(after_request(frame(connection, std::string(20, 'x'))) == "a frame of kind 32 and 20 bytes");
  CHECK(after_request(frame(connection, number(0, 4))) == "a connection's event 0 of 4 bytes");
  CHECK(after_request(frame(connection, number(8, 4))) == "a connection's event 8 of 4 bytes");
  CHECK(after_request(header(get, 30)) == "a frame of kind 18, which no process of a run sends");
  CHECK(after_request(message_with(11, 10)) == "a message of 18 bytes with a header of 11");
}

TEST_CASE("the rest of a put comes only as long as this process waits for it") {
  bool waits = true;
  data_stream stream(true, [&](std::uint64_t address, std::uint64_t bytes) { return waits && address + bytes == 200; });
  CHECK(take(stream, magic + request + put_at(110, 90) + std::string(40, 'p')).empty());
  CHECK(stream.may_read().empty());
  waits = false;
  CHECK(stream.may_read() == "a put of 50 more bytes that nobody waits for");
}

TEST_CASE("bytes are put only where this process waits for them") {
  CHECK(after_request(put_at(110, 91)) == "a put of 91 bytes that nobody waits for");
  CHECK(after_request(put_at(99, 1)) == "a put of 1 bytes that nobody waits for");
  std::array<char, 100> memory{};
  const auto begin = reinterpret_cast<std::uint64_t>(memory.data());
  CHECK_FALSE(is_room_for_data(begin, 1));
  {
    const room_for_data room(memory.data(), memory.size()), part(memory.data() + 50, 10);
    CHECK(is_room_for_data(begin, 100));
    CHECK(is_room_for_data(begin + 55, 45));
    CHECK_FALSE(is_room_for_data(begin + 1, 100));
    CHECK_FALSE(is_room_for_data(begin - 1, 2));
  }
  CHECK_FALSE(is_room_for_data(begin, 1));
}

} // namespace data_stream_test
