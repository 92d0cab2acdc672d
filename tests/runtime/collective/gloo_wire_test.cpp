#include "runtime/access/proof.hpp"
#include "runtime/access/socket_calls.hpp"
#include "runtime/collective/gloo_wire.hpp"
#include "tests/runtime/collective/ranks.hpp"
#include "tests/support/eventually.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <unistd.h>

#include <cstring>
#include <mutex>
#include <set>

namespace gloo_wire_test {

using namespace millrace::collective;
using namespace millrace::collective::testing;
using namespace millrace::tests;
using namespace std::chrono_literals;

namespace {

/// Where a rank listens, out of the word that it says: length and text of a host's name, length of an address, and the
/// address.
sockaddr_in address_in(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  std::uint64_t name = 0;
  REQUIRE(bytes.size() > sizeof name);
  std::memcpy(&name, bytes.data(), sizeof name);
  const auto at = 2 * sizeof name + name;
  sockaddr_in address{};
  REQUIRE(bytes.size() >= at + sizeof address);
  std::memcpy(&address, bytes.data() + at, sizeof address);
  REQUIRE(address.sin_family == AF_INET);
  return address;
}

/// Somebody who connects to a rank's port without a proof.
class stranger {
public:
  stranger(const sockaddr_in& to, const std::string& says) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
    CHECK(::send(socket_, says.data(), says.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(says.size()));
  }

  ~stranger() { ::close(socket_); }

  stranger(const stranger&) = delete;
  stranger& operator=(const stranger&) = delete;

  /// Whether the port has closed the connection, and has said nothing before.
  bool turned_away() const {
    pollfd wait{socket_, POLLIN, 0};
    char byte = 0;
    return ::poll(&wait, 1, 10'000) == 1 && ::recv(socket_, &byte, 1, 0) <= 0;
  }

private:
  int socket_;
};

} // namespace

TEST_CASE("a line of Gloo's is said in plain words") {
  CHECK(plain_words("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:26297. This is typically "
                    "caused by a remote worker crashing. Check the logs.")
        == "Connection closed by peer [127.0.0.1]:26297");
  CHECK(plain_words("[enforce fail at /gloo/socket.cc:143] rv != -1. -1 vs -1. connect: Connection refused\nmore")
        == "connect: Connection refused");
  CHECK(plain_words("something else") == "something else");
  CHECK(plain_words("[") == "[");
}

TEST_CASE("a stranger at a rank's port is turned away, and the group forms all the same") {
  watched<std::vector<std::string>> refused;
  millrace::access::tell_refusals(
      [&](const std::string& line) { refused.change([&](auto& all) { all.push_back(line); }); });
  const auto guarded_before = millrace::access::guarded_ports();
  std::mutex mutex;
  std::vector<std::unique_ptr<stranger>> strangers;
  // What rank 1 would say if nobody asked for a proof: the number of the connection that rank 0 waits for.
  const std::string number("\1\0\0\0\0\0\0\0", 8), silent;
  const words_of_all words(2, [&](const std::string&, const std::string& value) {
    const std::lock_guard lock(mutex);
    strangers.push_back(std::make_unique<stranger>(address_in(value), number + std::string(60, 'x')));
    strangers.push_back(std::make_unique<stranger>(address_in(value), silent));
  });
  std::vector<std::unique_ptr<group>> groups(2);
  CHECK(on_ranks(2,
                 [&](int rank) {
                   groups[static_cast<std::size_t>(rank)] = connect_gloo(options_of(rank, 2), words.of(rank));
                   exchange_one(*groups[static_cast<std::size_t>(rank)]);
                 })
        == std::vector<std::string>(2));
  CHECK(millrace::access::guarded_ports() == guarded_before + 2);
  REQUIRE(strangers.size() == 4);
  for (const auto& one : strangers)
    CHECK(one->turned_away());
  CHECK(refused.wait([](const auto& all) { return !all.empty(); }));
  CHECK(refused.get().front().find("no proof that it holds this port's key") != std::string::npos);
  millrace::access::tell_refusals({});
}

/// It announces a tensor of a kind that no rank sends: Gloo would keep it in mind, and wait on.
TEST_CASE("a rank that knows the key and keeps no rule is turned away, and the other says that it is gone") {
  watched<std::vector<std::string>> refused;
  millrace::access::tell_refusals(
      [&](const std::string& line) { refused.change([&](auto& all) { all.push_back(line); }); });
  const auto options = options_of(0, 2);
  std::unique_ptr<stranger> rank_1;
  std::shared_ptr<rendezvous> words;
  words = std::make_shared<rendezvous>([&](std::string key, std::string value) {
    auto there = address_in(value);
    const auto* place = reinterpret_cast<const sockaddr*>(&there);
    const auto proof = millrace::access::make_proof(options.key, millrace::access::place_of(place));
    std::string says(reinterpret_cast<const char*>(proof.data()), proof.size());
    for (const std::uint64_t one : {1, 48, 2, 7, 0, 1, 0}) // who it is; then an operation
      says.append(reinterpret_cast<const char*>(&one), sizeof one);
    rank_1 = std::make_unique<stranger>(there, says);
    // Its own word is that of rank 0 but for the port: the highest, so that rank 0 waits for it to connect.
    const auto port = value.size() - 2 * (sizeof(sockaddr_storage) + sizeof(std::int64_t) - sizeof(sa_family_t));
    words->told(key.replace(key.size() - 1, 1, "1"), value.replace(port, 4, "ffff"));
  });
  CHECK(on_ranks(1, [&](int) { connect_gloo(options, words); }).front().starts_with("rank 1 is gone: "));
  CHECK(refused.wait([](const auto& all) { return !all.empty(); }));
  CHECK(refused.get().front().find("an operation for slot 7, offsets 0 and 0") != std::string::npos);
  millrace::access::tell_refusals({});
}

TEST_CASE("ranks listen on the ports that they are given; one that finds none says so") {
  const auto ports = free_ports(2);
  std::mutex mutex;
  std::set<std::uint16_t> heard;
  const words_of_all words(2, [&](const std::string&, const std::string& value) {
    const auto port = ntohs(address_in(value).sin_port);
    const std::lock_guard lock(mutex);
    heard.insert(port);
  });
  const auto options_within = [&](int rank) {
    auto options = options_of(rank, 2);
    options.ports = ports;
    return options;
  };
  std::vector<std::unique_ptr<group>> groups(2);
  const auto connect = [&](int rank) {
    groups[static_cast<std::size_t>(rank)] = connect_gloo(options_within(rank), words.of(rank));
    exchange_one(*groups[static_cast<std::size_t>(rank)]);
  };
  REQUIRE(on_ranks(2, connect) == std::vector<std::string>(2));
  CHECK(heard == std::set<std::uint16_t>{ports[0], ports[1]});
  const words_of_all others(2);
  CHECK_THROWS_WITH_AS(connect_gloo(options_within(0), others.of(0)),
                       ("no port from " + std::to_string(ports[0]) + " to " + std::to_string(ports[1])
                        + " of 127.0.0.1 can be listened on for ranks: listen: Address already in use")
                           .c_str(),
                       std::runtime_error);
  groups.clear();
  groups.resize(2);
  CHECK(on_ranks(2,
                 [&](int rank) {
                   groups[static_cast<std::size_t>(rank)] = connect_gloo(options_within(rank), others.of(rank));
                   exchange_one(*groups[static_cast<std::size_t>(rank)]);
                 })
        == std::vector<std::string>(2));
}

TEST_CASE("a rank with another key joins nobody") {
  for (int again = 0; again < 4; ++again) { // the one with the higher port connects
    const words_of_all words(2);
    const auto thrown = on_ranks(2, [&](int rank) {
      auto options = options_of(rank, 2);
      options.connect_deadline = 300ms;
      if (rank == 1)
        options.key.fill(std::byte{0x5b});
      connect_gloo(options, words.of(rank));
    });
    for (const int rank : {0, 1}) {
      const auto& why = thrown[static_cast<std::size_t>(rank)];
      CAPTURE(why);
      const auto other = "rank " + std::to_string(1 - rank);
      CHECK((why == other + " has not come to the group within 300 ms" || why.starts_with(other + " is gone: ")));
    }
  }
}

/// What a rank says that hears such a word for the other one's address.
std::string said_of(const std::string& word) {
  const words_of_all words(1);
  words.of(0)->told("0/1", word);
  return on_ranks(1,
                  [&](int) {
                    auto options = options_of(0, 2);
                    options.connect_deadline = 300ms;
                    connect_gloo(options, words.of(0));
                  })
      .front();
}

TEST_CASE("a word that is no address is said") {
  for (const std::string word : {"", "0", "0g", "not hex"})
    CHECK(said_of(word) == "rank 1's address: want pairs of digits 0-9a-f, got \"" + word + "\"");
}

/// Gloo would pass over what stands behind an address.
TEST_CASE("a word whose length is not that of an address is said") {
  const std::string none(16, '0'), address = "8800000000000000", socket(2 * 136, '0'),
                                   word = none + address + socket + "00";
  CHECK(said_of(word)
        == "rank 1's address: want a host's name and 136 bytes, got " + std::to_string(word.size() / 2)
               + " bytes of other lengths");
}

TEST_CASE("a host that is no address of this host is said") {
  const words_of_all words(1);
  auto options = options_of(0, 2);
  options.host = "192.0.2.1"; // of documentation (RFC 5737)
  CHECK_THROWS_AS(connect_gloo(options, words.of(0)), std::exception);
  CHECK_FALSE(words.of(0)->has("0/0"));
}

} // namespace gloo_wire_test
