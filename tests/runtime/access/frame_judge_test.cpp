#include "runtime/access/data_stream.hpp"
#include "runtime/access/frame_judge.hpp"
#include "runtime/access/wireup_frame.hpp"
#include "tests/runtime/access/data_frames.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace frame_judge_test {

using namespace millrace::access;
using namespace millrace::access::testing;

namespace {

sockaddr_storage loopback(std::uint16_t port) {
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  place.sin_port = htons(port);
  sockaddr_storage there{};
  std::memcpy(&there, &place, sizeof place);
  return there;
}

/// One connection of a data plane that listens on port 700. Nobody may put anything.
struct peer_line {
  std::shared_ptr<data_ledger> ledger;
  data_stream stream;

  explicit peer_line(bool accepted, std::shared_ptr<data_ledger> of = std::make_shared<data_ledger>())
      : ledger(std::move(of)),
        stream(
            accepted, [](auto, auto) { return false; },
            std::make_unique<frame_judge>(
                ledger, frame_judge::ends{.accepted = accepted, .own = loopback(700), .other = loopback(0xb645)})) {}

  std::string hears(const std::string& bytes) { return stream.take(bytes_of(bytes)); }

  void says(const std::string& bytes) { stream.told(bytes_of(bytes)); }
};

const std::string request = frame(connection, said_request), answer = frame(connection, number(2, 4)),
                  answer_and_request = frame(connection, number(3, 4)), end = frame(connection, number(4, 4)),
                  asks = frame(wireup, said_wireup), replies = frame(wireup, said_reply);

std::string message_to(std::uint64_t endpoint, std::uint64_t handler = 1, std::uint64_t flags = 1) {
  return frame(message_to_answer,
               number(handler, 2) + number(flags, 2) + number(2, 4) + "payload, hh" + number(endpoint, 8));
}

std::string fragment_of(std::uint64_t request_number, std::uint64_t offset, std::size_t bytes) {
  return frame(fragment, number(request_number, 8) + number(offset, 8) + std::string(bytes, 'f'));
}

const std::string refuses = frame(fetched, number(3, 8) + number(0, 1) + number(100'044, 8));

/// Somebody has connected, has asked for an endpoint, and was told endpoint 3.
peer_line with_endpoint() {
  peer_line line(true);
  REQUIRE(line.hears(magic + request + asks).empty());
  line.says(answer + replies);
  return line;
}

/// What is refused of the bytes, behind what went well before.
std::string refused(const std::string& bytes) {
  return with_endpoint().hears(bytes);
}

} // namespace

TEST_CASE("what a data plane says over a connection that was accepted passes, in pieces of any size") {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{64}, std::size_t{1} << 20}) {
    CAPTURE(piece);
    peer_line line(true);
    const auto in_pieces = [&](const std::string& all, bool heard) {
      for (std::size_t at = 0; at < all.size(); at += piece)
        if (heard)
          CHECK(line.hears(all.substr(at, piece)) == "");
        else
          line.says(all.substr(at, piece));
    };
    in_pieces(magic + request + asks, true);
    in_pieces(answer + replies + frame(ready_to_send, said_offer), false);
    in_pieces(message_to(3) + frame(ready_to_receive, said_demand), true);
    in_pieces(fragment_of(3, 0, 60'000) + fragment_of(3, 60'000, 40'044), false);
    in_pieces(frame(ready_to_send, said_offer), true);
    in_pieces(frame(ready_to_receive, said_demand), false);
    in_pieces(fragment_of(3, 0, 60'000) + fragment_of(3, 60'000, 40'044) + end, true);
    CHECK(line.stream.promised() == 0);
  }
}

TEST_CASE("what the other side answers over a connection that this process has made passes") {
  peer_line line(false);
  line.says(magic + request + asks);
  CHECK(line.hears(answer + request + replies + message_to(3)) == "");
  peer_line at_once(false);
  at_once.says(magic + request + asks);
  CHECK(at_once.hears(answer_and_request + asks + end) == "");
}

TEST_CASE("a connection's events come once and in their turn") {
  const auto out_of_turn = [](int event) { return "a connection's event " + std::to_string(event) + " out of turn"; };
  CHECK(peer_line(true).hears(magic + end) == out_of_turn(4));
  CHECK(peer_line(true).hears(magic + answer) == out_of_turn(2));
  CHECK(peer_line(true).hears(magic + answer_and_request) == out_of_turn(3));
  CHECK(refused(request) == out_of_turn(1));
  CHECK(refused(answer) == out_of_turn(2)); // this process has not asked
  CHECK(refused(end + end) == out_of_turn(4));
  CHECK(peer_line(false).hears(request) == out_of_turn(1));
  CHECK(peer_line(false).hears(end) == out_of_turn(4));
  CHECK(peer_line(false).hears(answer + answer) == out_of_turn(2));
  CHECK(peer_line(false).hears(answer + answer_and_request) == out_of_turn(3));
  CHECK(peer_line(false).hears(answer_and_request + request) == out_of_turn(1));
  auto answered = with_endpoint();
  answered.says(request);
  CHECK(answered.hears(answer) == "");
}

TEST_CASE("a request says where the other side listens, in this process's family of addresses") {
  const auto with = [](std::size_t at, const std::string& bytes) {
    auto content = said_request;
    return peer_line(true).hears(magic + frame(connection, content.replace(at, bytes.size(), bytes)));
  };
  CHECK(with(4, number(1, 1)) == "a request of 29 bytes, flags 1, number 0, family 2");
  CHECK(with(13, number(10, 2)) == "a request of 29 bytes, flags 0, number 0, family 10");
  CHECK(peer_line(true).hears(magic + frame(connection, said_request + std::string(12, '\0')))
        == "a request of 41 bytes, flags 0, number 0, family 0");
}

TEST_CASE("an endpoint is asked for once, from where the connection comes, and answered once") {
  CHECK(refused(asks) == "a second wireup request");
  peer_line elsewhere(true);
  auto other_port = said_request;
  CHECK(elsewhere.hears(magic + frame(connection, other_port.replace(15, 1, "x")) + asks)
        == "a wireup request from another place than its connection");
  peer_line known(true);
  wireup_frame said;
  REQUIRE(read_wireup(bytes_of(said_wireup), said).empty());
  said.from.places[0].domain = 1;
  REQUIRE(known.ledger->meet(said.from));
  CHECK(known.hears(magic + request + asks) == "a wireup request with another address than that of its worker");
  CHECK(refused(replies) == "a wireup reply to endpoint 3, which does not ask");
  peer_line asked(false);
  asked.says(magic + request + asks);
  CHECK(asked.hears(answer + replies + replies) == "a wireup reply to endpoint 3, which does not ask");
}

TEST_CASE("a message goes to an endpoint that the connection was told, and to the one handler there is") {
  CHECK(refused(message_to(3)) == "");
  CHECK(refused(message_to(5)) == "a message to endpoint 5, not told to it");
  CHECK(refused(message_to(3, 2)) == "a message for handler 2, flags 1");
  CHECK(refused(message_to(3, 1, 0)) == "a message for handler 1, flags 0");
  CHECK(refused(frame(ready_to_send, said_offer)) == "");
  auto line = with_endpoint();
  peer_line another(true, line.ledger);
  CHECK(line.hears(message_to(3)) == "");
  CHECK(another.hears(magic + request + message_to(3)) == "a message to endpoint 3, not told to it");
  const auto first = frame(message_begins, number(1, 2) + number(1, 2) + number(0, 4) + "m" + number(9, 8)
                                               + number(5, 8) + number(100, 8));
  CHECK(refused(first) == "a message to endpoint 5, not told to it");
}

TEST_CASE("what was offered is demanded or refused once, and whole") {
  const auto after_offer = [](const std::string& bytes) {
    auto line = with_endpoint();
    line.says(frame(ready_to_send, said_offer));
    return line.hears(bytes);
  };
  const auto demands = frame(ready_to_receive, said_demand);
  const std::string not_offered = "a demand for 100044 bytes of request 3, not offered";
  auto of_fewer = said_demand;
  CHECK(refused(demands) == not_offered);
  CHECK(after_offer(demands) == "");
  CHECK(after_offer(demands + demands) == not_offered);
  CHECK(after_offer(refuses) == "");
  CHECK(after_offer(refuses + demands) == not_offered);
  CHECK(after_offer(demands + refuses) == "a refusal of request 3, not offered");
  CHECK(after_offer(frame(ready_to_receive, of_fewer.replace(24, 8, number(100'043, 8))))
        == "a demand for 100043 bytes of request 3, not offered");
}

TEST_CASE("fragments come of what was demanded alone") {
  const auto after_demand = [](const std::string& bytes) {
    auto line = with_endpoint();
    line.says(frame(ready_to_receive, said_demand));
    return line.hears(bytes);
  };
  CHECK(refused(fragment_of(3, 0, 10)) == "a fragment of 10 bytes from 0 on for request 3, not demanded");
  CHECK(after_demand(fragment_of(3, 100'034, 10)) == "");
  CHECK(after_demand(fragment_of(3, 100'035, 10))
        == "a fragment of 10 bytes from 100035 on for request 3, not demanded");
}

TEST_CASE("frames that a data plane over TCP does not send are refused") {
  for (const int kind : {16, 23, 33, 34}) {
    CAPTURE(kind);
    CHECK(refused(header(static_cast<std::uint8_t>(kind), kind == 33   ? 20
                                                          : kind == 34 ? 4
                                                                       : 17))
          == "a frame of kind " + std::to_string(kind) + ", which no process of a run sends");
  }
  CHECK(refused(header(wireup, 0)) == "a frame of kind 1 and 0 bytes");
  CHECK(refused(header(wireup, 8'193)) == "a frame of kind 1 and 8193 bytes");
  CHECK(refused(header(fragment, 16)) == "a frame of kind 12 and 16 bytes");
}

/// Whatever passes of frames with a few wrong bytes keeps to what UCX may be given: checked by reading it again, with
/// readers of this test's own.
TEST_CASE("of frames with wrong bytes, those that pass stay within what was said") {
  std::mt19937_64 random(20'260'801);
  const std::vector<std::pair<data_kind, std::string>> said{
      {wireup, said_wireup},      {wireup, said_wireup_of_device}, {wireup, said_reply},
      {connection, said_request}, {ready_to_send, said_offer},     {ready_to_receive, said_demand}};
  int passed = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto [kind, content] = said[random() % said.size()];
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      auto& byte = content[random() % content.size()];
      byte = static_cast<char>(random() % 4 == 0 ? 0xff : random() % 4 == 0 ? 0 : byte ^ 1 << random() % 8);
    }
    if (random() % 4 == 0)
      content.resize(random() % (content.size() + 8), 'x');
    if (content.empty())
      continue;
    peer_line line(true);
    if (kind != connection)
      REQUIRE(line.hears(magic + request).empty());
    else
      REQUIRE(line.hears(magic).empty());
    line.says(answer + asks + frame(ready_to_send, said_offer)); // endpoint 3 asks, request 3 offers
    if (!line.hears(frame(kind, content)).empty())
      continue;
    ++passed;
    CAPTURE(i);
    const auto at = [&](std::size_t place, std::size_t bytes) {
      std::uint64_t value = 0;
      REQUIRE(place + bytes <= content.size());
      std::memcpy(&value, content.data() + place, bytes);
      return value;
    };
    if (kind == wireup) {
      CHECK((at(4, 8) & 1) == 1);
      CHECK((at(0, 1) == 1 ? at(12, 8) == 0 : at(12, 8) == 3));
      CHECK(at(20, 1) % 16 == 0);
      CHECK(content.ends_with(at(0, 1) == 1 ? "\xb6\x45" : "\xff"));
    } else if (kind == connection) {
      CHECK(content.size() == 29);
      CHECK(at(0, 5) == 1);
      CHECK(at(13, 2) == AF_INET);
    } else if (kind == ready_to_send) {
      CHECK(at(0, 4) == 0x10001);
      CHECK(at(4, 4) == content.size() - 50);
      CHECK(at(8, 8) == 3);
      CHECK((at(16, 8) & 1) == 1);
      CHECK(at(40, 8) == 1); // active messages, and no domain
    } else {
      CHECK(content.size() == 49);
      CHECK(at(0, 8) == 3);
      CHECK(at(24, 8) == 100'044);
      CHECK(at(32, 8) == 0);
      CHECK(at(40, 8) == 0);
    }
  }
  CHECK(passed > 100); // bytes that nobody reads: the worker's number, a header of a message
}

} // namespace frame_judge_test
