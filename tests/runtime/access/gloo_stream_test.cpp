#include "runtime/access/gloo_stream.hpp"
#include "tests/runtime/access/data_frames.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace gloo_stream_test {

using namespace millrace::access;
using namespace millrace::access::testing;

namespace {

enum kind : std::uint64_t { tensor = 1, will_send = 2, waits = 3 };

std::string operation(std::uint64_t bytes, std::uint64_t kind, std::uint64_t slot, std::uint64_t length,
                      std::uint64_t offset = 0, std::uint64_t remote_offset = 0) {
  return number(bytes, 8) + number(kind, 8) + number(slot, 8) + number(offset, 8) + number(length, 8)
         + number(remote_offset, 8);
}

std::string announces(kind what, std::uint64_t slot, std::uint64_t length) {
  return operation(48, what, slot, length);
}

std::string sends(std::uint64_t slot, std::size_t length) {
  return operation(48 + length, tensor, slot, length) + std::string(length, 't');
}

std::string hears(gloo_stream& stream, const std::string& bytes) {
  return stream.take(bytes_of(bytes));
}

/// What is refused of the bytes, where this rank waits for 100 bytes in slot 1.
std::string refused(const std::string& bytes) {
  gloo_stream stream(true);
  stream.told(bytes_of(announces(waits, 1, 100)));
  return hears(stream, bytes);
}

} // namespace

/// As two ranks said it, in this order, over one connection: lengths, bytes, and the end of an exchange.
TEST_CASE("what two ranks say in an exchange passes, in pieces of any size") {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{48}, std::size_t{1} << 20}) {
    CAPTURE(piece);
    gloo_stream stream(true);
    const auto in_pieces = [&](const std::string& all, bool heard) {
      for (std::size_t at = 0; at < all.size(); at += piece)
        if (heard)
          CHECK(hears(stream, all.substr(at, piece)) == "");
        else
          stream.told(bytes_of(std::string_view(all).substr(at, piece)));
    };
    for (int i = 0; i < 40; ++i) {
      in_pieces(announces(waits, 2, 1) + announces(will_send, 0, 16), true);
      in_pieces(announces(waits, 2, 1) + announces(will_send, 0, 16) + announces(waits, 0, 16), false);
      in_pieces(announces(waits, 0, 16) + sends(0, 16), true);
      in_pieces(sends(0, 16) + announces(waits, 1, 5'000) + announces(will_send, 1, 300), false);
      in_pieces(announces(will_send, 1, 5'000) + announces(waits, 1, 300) + sends(1, 5'000), true);
      in_pieces(sends(1, 300) + announces(will_send, 2, 1), false);
      in_pieces(announces(will_send, 2, 1) + sends(2, 1), true);
      in_pieces(sends(2, 1), false);
    }
  }
}

TEST_CASE("a tensor comes where this rank waits, with the length that it waits for, once") {
  const auto ready = announces(will_send, 1, 100);
  CHECK(refused(ready + sends(1, 100)) == "");
  CHECK(refused(sends(1, 100)) == "a tensor of 100 bytes that was not announced");
  std::mt19937_64 random(20'260'807);
  for (int i = 0; i < 20; ++i) {
    const auto bytes = random() % 200;
    const auto why = "a tensor of " + std::to_string(bytes) + " bytes, where 100 are waited for";
    CHECK(refused(ready + sends(1, bytes)) == (bytes == 100 ? "" : why));
  }
  CHECK(refused(ready + ready + sends(1, 100) + sends(1, 100)) == "a tensor of 100 bytes, where nobody waits");
  CHECK(refused(announces(will_send, 2, 100) + sends(2, 100)) == "a tensor of 100 bytes, where nobody waits");
}

TEST_CASE("an operation that no rank sends is refused, and the reason names the field") {
  CHECK(refused(operation(148, 0, 1, 100)) == "an operation of kind 0, which no rank sends");
  CHECK(refused(operation(48, 4, 1, 100)) == "an operation of kind 4, which no rank sends");
  CHECK(refused(announces(will_send, 3, 1)) == "an operation for slot 3, offsets 0 and 0");
  CHECK(refused(operation(48, waits, 1, 100, 8)) == "an operation for slot 1, offsets 8 and 0");
  CHECK(refused(operation(48, waits, 1, 100, 0, 8)) == "an operation for slot 1, offsets 0 and 8");
  CHECK(refused(operation(49, waits, 1, 1)) == "an announcement of 49 bytes");
}

TEST_CASE("announcements that nothing follows are bounded, and settled ones do not count") {
  for (const kind what : {will_send, waits}) {
    gloo_stream stream(true);
    for (int i = 0; i < 16; ++i)
      CHECK(hears(stream, announces(what, 1, 100)) == "");
    CHECK(hears(stream, announces(what, 2, 100)) == "");
    CHECK(hears(stream, announces(what, 1, 100)) == "more announcements than a rank makes at once");
  }
  gloo_stream stream(true);
  for (int i = 0; i < 100; ++i) {
    CHECK(hears(stream, announces(waits, 1, 100)) == "");
    stream.told(bytes_of(sends(1, 100)));
  }
}

TEST_CASE("a connection over which nothing has been said yet counts as held") {
  gloo_stream accepted(true);
  CHECK(accepted.promised() == 128 << 10);
  CHECK(hears(accepted, announces(waits, 1, 100)) == "");
  CHECK(accepted.promised() == 0);
  CHECK(gloo_stream(false).promised() == 0);
}

TEST_CASE("of operations with wrong bytes, those that pass are such as were waited for") {
  std::mt19937_64 random(20'260'802);
  const std::string said[] = {announces(waits, 1, 100), announces(will_send, 1, 100), sends(1, 100)};
  int passed = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto bytes = said[random() % 3];
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      auto& byte = bytes[random() % std::min<std::size_t>(bytes.size(), 52)];
      byte = static_cast<char>(random() % 4 == 0 ? 0xff : random() % 4 == 0 ? 0 : byte ^ 1 << random() % 8);
    }
    if (!refused(announces(will_send, 1, 100) + bytes).empty())
      continue;
    ++passed;
    std::uint64_t fields[6];
    std::memcpy(fields, bytes.data(), sizeof fields);
    CHECK(fields[1] >= 1);
    CHECK(fields[1] <= 3);
    CHECK(fields[2] < 3);
    CHECK(fields[3] == 0);
    CHECK(fields[5] == 0);
    CHECK(fields[0] == 48 + (fields[1] == tensor ? 100 : 0));
    if (fields[1] == tensor) {
      CHECK(fields[2] == 1);
      CHECK(fields[4] == 100);
    }
  }
  CHECK(passed > 100); // other lengths of announcements, which Gloo does not read, and other bytes of a tensor
}

} // namespace gloo_stream_test
