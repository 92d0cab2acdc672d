#include "runtime/transport/wire_format.hpp"
#include "tests/runtime/transport/planes.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

namespace sealed_pieces_test {

using namespace millrace;
using namespace millrace::transport;
using namespace millrace::transport::testing;

namespace {

data_plane_options encrypting(std::uint64_t node, bool encrypt = true) {
  auto options = options_of(node);
  options.encrypt = encrypt;
  return options;
}

struct encrypting_pair {
  explicit encrypting_pair(bool a_does = true, bool b_does = true)
      : a(encrypting(1, a_does)), b(encrypting(2, b_does)) {
    a.add_peer(2, b.address());
    b.add_peer(1, a.address());
  }

  data_plane a, b;
};

/// Columns of these sizes, each with bytes of its own.
bundle columns_of(const std::vector<std::size_t>& sizes) {
  std::mt19937_64 random(sizes.size());
  bundle_builder builder;
  std::vector<std::vector<std::uint8_t>> all;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    auto& bytes = all.emplace_back(sizes[i]);
    for (auto& byte : bytes)
      byte = static_cast<std::uint8_t>(random());
    builder.add<std::uint8_t>("c" + std::to_string(i), bytes);
  }
  return builder.finish();
}

/// What goes over the loopback device while it lives; nothing where this process may not listen there.
class wire_tap {
public:
  wire_tap() : socket_(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    if (socket_ < 0)
      return;
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = static_cast<int>(if_nametoindex("lo"));
    const int room = 64 << 20;
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    REQUIRE(::bind(socket_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  }

  ~wire_tap() { ::close(socket_); }

  wire_tap(const wire_tap&) = delete;
  wire_tap& operator=(const wire_tap&) = delete;

  bool listens() const { return socket_ >= 0; }

  /// Whether a packet so far has that text.
  bool heard(const std::string& text) const {
    std::vector<char> packet(1 << 17);
    bool found = false;
    for (ssize_t size = 0; (size = ::recv(socket_, packet.data(), packet.size(), MSG_DONTWAIT)) > 0;)
      found =
          found || std::string_view(packet.data(), static_cast<std::size_t>(size)).find(text) != std::string_view::npos;
    return found;
  }

private:
  int socket_;
};

} // namespace

TEST_CASE("encrypted bundles arrive as they are: of any size, with columns of no bytes, whole or in part") {
  encrypting_pair nodes;
  const auto piece = sealed_piece_bytes;
  for (const auto& sizes : std::vector<std::vector<std::size_t>>{{},
                                                                 {0},
                                                                 {1},
                                                                 {piece - 1},
                                                                 {piece},
                                                                 {piece + 1},
                                                                 {3, 0, 64, 0, 0, 100},
                                                                 {0, 5 * piece + 7, 0, 2 * piece, 1},
                                                                 {20 * piece}}) {
    CAPTURE(sizes.size());
    const auto value = columns_of(sizes);
    const auto ticket = nodes.a.publish(value);
    const auto whole = pull(nodes.b, ticket);
    CAPTURE(whole.error);
    REQUIRE(whole);
    CHECK(same(whole.value, value));
    if (sizes.size() > 2) {
      const auto part = pull(nodes.b, ticket, {.required = {"c1", "c2"}});
      REQUIRE(part);
      const std::vector<std::size_t> places{1, 2};
      CHECK(same(part.value, value.only(places)));
    }
    nodes.a.release(ticket.id);
  }
  CHECK(nodes.b.stats().pulls_failed == 0);
}

TEST_CASE("many encrypted pulls at once, in both directions, come to their own bytes") {
  encrypting_pair nodes;

  struct one {
    bundle value;
    ticket from;
    std::promise<pull_result> done;
  };

  std::vector<one> all(24);
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].value = random_bundle(100'000 * (i % 7 + 1), i);
    all[i].from = (i % 2 ? nodes.a : nodes.b).publish(all[i].value);
  }
  for (std::size_t i = 0; i < all.size(); ++i)
    (i % 2 ? nodes.b : nodes.a).pull(all[i].from, std::chrono::seconds(20), [to = &all[i].done](pull_result got) {
      to->set_value(std::move(got));
    });
  for (auto& each : all) {
    const auto got = each.done.get_future().get();
    CAPTURE(got.error);
    REQUIRE(got);
    CHECK(same(got.value, each.value));
  }
}

TEST_CASE("a bundle that is handed from one reader to the next is encrypted on each way") {
  data_plane owner(encrypting(1));
  std::vector<std::unique_ptr<data_plane>> readers;
  for (std::uint64_t node = 2; node <= 5; ++node)
    readers.push_back(std::make_unique<data_plane>(encrypting(node)));
  std::vector<data_plane*> all{&owner};
  for (auto& one : readers)
    all.push_back(one.get());
  for (auto* x : all)
    for (auto* y : all)
      if (x != y)
        x->add_peer(y->node(), y->address());
  const auto value = random_bundle(6'000'000, 4);
  const auto ticket = owner.publish(value);
  std::vector<std::promise<pull_result>> done(readers.size());
  for (std::size_t i = 0; i < readers.size(); ++i)
    readers[i]->pull(ticket, std::chrono::seconds(20),
                     [to = &done[i]](pull_result got) { to->set_value(std::move(got)); });
  for (auto& each : done) {
    const auto got = each.get_future().get();
    CAPTURE(got.error);
    REQUIRE(got);
    CHECK(same(got.value, value));
  }
}

TEST_CASE("a node that does not encrypt and one that does take nothing from each other") {
  for (const bool owner_does : {false, true}) {
    encrypting_pair nodes(owner_does, !owner_does);
    const auto got = pull(nodes.b, nodes.a.publish(random_bundle(5000, 1)));
    CHECK(got.status == pull_status::corrupt);
    CHECK(got.error.find(owner_does ? "the owner sent what the ticket does not say"
                                    : "the owner sent bytes that are not encrypted")
          != std::string::npos);
  }
}

TEST_CASE("no byte of an encrypted bundle is on the wire as it is") {
  std::string text;
  for (int i = 0; i < 3000; ++i)
    text += "the marker of this test ";
  for (const bool encrypt : {false, true}) {
    const wire_tap tap;
    if (!tap.listens()) {
      MESSAGE("SKIPPED: this process may not listen to the loopback device");
      return;
    }
    encrypting_pair nodes(encrypt, encrypt);
    bundle_builder builder;
    builder.add<std::uint8_t>("text", {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    const auto got = pull(nodes.b, nodes.a.publish(builder.finish()));
    REQUIRE(got);
    CHECK(tap.heard("the marker of this test") == !encrypt);
  }
}

TEST_CASE("no two pieces have the same key, whatever of their headers differs") {
  const access::key256 run{}, other{std::byte{1}};
  message m;
  m.kind = message_kind::sealed_piece;
  const auto key = piece_key(m, run);
  CHECK(key == piece_key(m, run));
  CHECK(key != piece_key(m, other));
  for (auto* field :
       {&m.from, &m.from_life, &m.to, &m.to_life, &m.sequence, &m.ticket, &m.owner, &m.pull, &m.argument}) {
    ++*field;
    CHECK(piece_key(m, run) != key);
    --*field;
  }
  m.mac[0] = std::byte{1}; // is not part of it
  CHECK(piece_key(m, run) == key);
}

} // namespace sealed_pieces_test
