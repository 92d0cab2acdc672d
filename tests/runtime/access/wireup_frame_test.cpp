#include "runtime/access/wireup_frame.hpp"
#include "tests/runtime/access/data_frames.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

namespace wireup_frame_test {

using namespace millrace::access;
using namespace millrace::access::testing;

namespace {

std::string why_not(const std::string& content) {
  wireup_frame heard;
  return read_wireup(bytes_of(content), heard);
}

/// `said_wireup` with other bytes from there on.
std::string with(std::size_t at, const std::string& bytes) {
  auto content = said_wireup;
  return content.replace(at, bytes.size(), bytes);
}

} // namespace

TEST_CASE("what two workers say to each other about their endpoints is read as it was meant") {
  wireup_frame heard;
  CHECK(read_wireup(bytes_of(said_wireup), heard) == "");
  CHECK(heard.type == wireup_frame::request);
  CHECK(heard.source == 3);
  CHECK(heard.target == 0);
  CHECK(heard.from.worker == 0xe7ea96df709ac10b);
  REQUIRE(heard.from.places.size() == 1);
  CHECK(heard.from.places[0].loopback);
  CHECK(heard.from.places[0].port == 0xb645);

  wireup_frame from_device;
  CHECK(read_wireup(bytes_of(said_wireup_of_device), from_device) == "");
  REQUIRE(from_device.from.places.size() == 1);
  CHECK_FALSE(from_device.from.places[0].loopback);
  CHECK(from_device.from.places[0].address.size() == 4);
  CHECK(from_device.from.places[0].address[0] == std::byte{192});
  CHECK(from_device.from.places[0].port == 0xb157);

  wireup_frame answer;
  CHECK(read_wireup(bytes_of(said_reply), answer) == "");
  CHECK(answer.type == wireup_frame::reply);
  CHECK(answer.target == 3);
  CHECK(answer.from.places.empty());
}

TEST_CASE("a worker's address of two devices, with paths and a device of the system, is read") {
  const auto port = from_hex("cf1917b7513897633449d7e0373700132300"
                             "82"
                             "b157"); // in a message it has a number too
  const auto one = from_hex("2006"
                            "0002c0000202")
                   + port;
  const auto two = from_hex("01f2"
                            "0201")
                   + from_hex("000a") + std::string(16, '\x20') + port;
  worker_address there;
  CHECK(read_worker_address(bytes_of(from_hex("60"
                                              "862d983413c408e8")
                                     + std::string(8, 'c') + one + two),
                            false, there)
        == "");
  REQUIRE(there.places.size() == 2);
  CHECK(there.places[1].v6);
  CHECK(there.places[1].address.size() == 16);
}

TEST_CASE("a wireup message that no process of a run sends is refused, and the reason names the field") {
  struct row {
    const char* field;
    std::size_t at, bytes;
    const char* reason;
  };

  std::mt19937_64 random(20'260'803);
  for (const auto& [field, at, bytes, reason] :
       {row{"type", 0, 1, "a wireup "}, row{"error mode", 1, 1, "of error mode "},
        row{"source", 4, 8, "from an endpoint "}, row{"target", 12, 8, "a wireup request to an endpoint "},
        row{"version and flags", 20, 1, " with an address of "}, row{"a device's length", 30, 1, " with a"},
        row{"a device's flags", 31, 1, " with a device of family 2, flags "},
        row{"family", 32, 1, " with a device of family "}, row{"transport", 49, 2, "a transport that is not TCP"},
        row{"overhead", 51, 4, "a TCP of a bandwidth, latency or overhead that cannot be"},
        row{"abilities", 64, 3, "a TCP of abilities "}, row{"a port's length", 68, 1, " with a"}}) {
    CAPTURE(field);
    int refused = 0;
    for (int i = 0; i < 100; ++i) {
      const auto why = why_not(with(at, number(random(), bytes)));
      refused += !why.empty();
      CHECK((why.empty() || why.find(reason) != std::string::npos));
    }
    CHECK(refused >= 30); // half of all numbers could be an endpoint, half of all floats a time
  }
}

TEST_CASE("a wireup message with bytes behind it, or fewer of them, is refused") {
  std::mt19937_64 random(20'260'804);
  for (const auto& whole : {said_wireup, said_wireup_of_device, said_reply}) {
    CHECK(why_not(whole).empty());
    CHECK(why_not(whole + "x") == "a wireup message with an address with 1 bytes behind it");
    for (int i = 0; i < 20; ++i)
      CHECK_FALSE(why_not(whole.substr(0, random() % whole.size())).empty());
  }
}

} // namespace wireup_frame_test
