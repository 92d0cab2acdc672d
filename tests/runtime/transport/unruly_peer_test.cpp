#include "runtime/access/proof.hpp"
#include "runtime/access/socket_calls.hpp"
#include "runtime/transport/wire_format.hpp"
#include "tests/runtime/transport/planes.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace unruly_peer_test {

using namespace millrace;
using namespace millrace::transport;
using namespace millrace::transport::testing;

namespace {

sockaddr_in free_place() {
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof where;
  const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(::bind(probe, reinterpret_cast<sockaddr*>(&where), size) == 0);
  REQUIRE(::getsockname(probe, reinterpret_cast<sockaddr*>(&where), &size) == 0);
  ::close(probe);
  return where;
}

/// A connection with the right proof, and words after it.
class unruly_peer {
public:
  unruly_peer(const sockaddr_in& to, const access::key256& key, const std::string& words)
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const auto* place = reinterpret_cast<const sockaddr*>(&to);
    REQUIRE(::connect(socket_, place, sizeof to) == 0);
    const auto proof = access::make_proof(key, access::place_of(place));
    const auto all = std::string(reinterpret_cast<const char*>(proof.data()), proof.size()) + words;
    REQUIRE(::send(socket_, all.data(), all.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(all.size()));
  }

  ~unruly_peer() { ::close(socket_); }

  unruly_peer(const unruly_peer&) = delete;
  unruly_peer& operator=(const unruly_peer&) = delete;

  /// Whether the other side closes the connection in time.
  bool is_closed() const {
    for (;;) {
      pollfd wait{socket_, POLLIN, 0};
      char ignored[4096];
      if (::poll(&wait, 1, 10'000) != 1)
        return false;
      if (::recv(socket_, ignored, sizeof ignored, 0) <= 0)
        return true;
    }
  }

private:
  int socket_;
};

/// Little endian.
std::string number(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i)
    text += static_cast<char>(value >> 8 * i);
  return text;
}

std::string frame(std::uint8_t kind, const std::string& content) {
  return number(kind, 1) + number(content.size(), 4) + content;
}

const std::string magic = number(0xCAFEBABE12345678, 8);

/// Two data planes, and where the first listens.
struct guarded_pair {
  sockaddr_in where = free_place();
  access::key256 key = options_of(1).key;
  data_plane a{at(where)};
  data_plane b{elsewhere()};

  guarded_pair() {
    a.add_peer(2, b.address());
    b.add_peer(1, a.address());
  }

  static data_plane_options at(const sockaddr_in& where) {
    auto options = options_of(1);
    options.ports = {ntohs(where.sin_port), ntohs(where.sin_port)};
    return options;
  }

  static data_plane_options elsewhere() {
    ::unsetenv("UCX_TCP_PORT_RANGE"); // it holds for a process, which has one data plane as a rule
    return options_of(2);
  }
};

/// Lines about connections that were turned away, while it lives. The first is told at once.
class turned_away {
public:
  turned_away() {
    access::tell_refusals([this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      lines_.push_back(line);
    });
  }

  ~turned_away() { access::tell_refusals(nullptr); }

  turned_away(const turned_away&) = delete;
  turned_away& operator=(const turned_away&) = delete;

  bool has(const std::string& words) const {
    const std::lock_guard lock(mutex_);
    return std::ranges::any_of(lines_, [&](const std::string& line) {
      return line.starts_with("turned away 127.0.0.1:") && line.find(words) != std::string::npos;
    });
  }

  std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

double resident_mib() {
  double all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

} // namespace

TEST_CASE("a peer that knows the key and keeps no rule is closed and named, and pulls go on") {
  const turned_away strangers;
  guarded_pair planes;
  const bundle content = random_bundle(2'000'000, 3);
  const auto offered = planes.a.publish(content);
  CHECK(same(pull(planes.b, offered).value, content));

  // Each is harmless to UCX, which ignores it and goes on to read.
  for (const auto& words : {magic + frame(35, ""), magic + frame(35, "x"), magic + frame(32, number(64, 4))})
    CHECK(unruly_peer(planes.where, planes.key, words).is_closed());
  CHECK(same(pull(planes.b, offered).value, content));
  const auto said = [&] { return strangers.has(" a connection's event 64 of 4 bytes"); };
  CHECK((eventually(said) || eventually(said))); // lines after the first come together, up to 10 s later
}

TEST_CASE("a peer that knows the key and names what it was never told is closed and named, and pulls go on") {
  guarded_pair planes;
  const bundle content = random_bundle(2'000'000, 3);
  const auto offered = planes.a.publish(content);
  CHECK(same(pull(planes.b, offered).value, content));
  // A connection from port 9 of 127.0.0.1.
  const auto asks = magic
                    + frame(32, number(1, 4) + std::string(9, '\0') + number(2, 2) + number(0x0900, 2)
                                    + number(0x0100007f, 4) + std::string(8, '\0'));
  // UCX looks each of these up, finds nothing, and goes on to read.
  const auto message = frame(26, number(1, 2) + number(1, 2) + number(0, 4) + number(9'999, 8));
  const auto demand = frame(11, number(9'999, 8) + number(3, 8) + number(8, 8) + number(8, 8) + std::string(17, '\0'));
  for (const auto& [words, why] : {std::pair(message, "a message to endpoint 9999, not told to it"),
                                   std::pair(demand, "a demand for 8 bytes of request 9999, not offered")}) {
    const turned_away strangers;
    CHECK(unruly_peer(planes.where, planes.key, asks + words).is_closed());
    const auto said = [&, why = why] { return strangers.has(why); };
    CHECK((eventually(said) || eventually(said)));
  }
  CHECK(same(pull(planes.b, offered).value, content));
}

TEST_CASE("who lets too many answers wait gets no other one, and the next peer is served") {
  auto few = options_of(1);
  few.max_waiting_answers = 0;
  data_plane owner(few), reader(options_of(2));
  owner.add_peer(2, reader.address());
  reader.add_peer(1, owner.address());
  const auto offered = owner.publish(random_bundle(100, 3));
  const auto refused_before = owner.stats().requests_refused;
  reader.pull(offered, std::chrono::milliseconds(300), [](const pull_result& got) { CHECK(!got); });
  CHECK(eventually([&] { return owner.stats().requests_refused > refused_before; }));
}

TEST_CASE("an address of a worker that no worker has is refused before UCX reads it") {
  data_plane plane(options_of(1));
  auto words = read_address(data_plane(options_of(2)).address()).value();
  words.ucx.push_back({}); // UCX would pass over it
  plane.add_peer(3, write(words));
  const auto got = pull(plane, ticket{.owner = 3, .id = 1, .bytes = 0, .layout = {}, .checksums = {}});
  CHECK(got.status == pull_status::peer_lost);
  CHECK(got.error.find("UCX: an address with 1 bytes behind it") != std::string::npos);
}

TEST_CASE("peers that know the key, begin a frame and are silent cost no more than the bound") {
  constexpr rlim_t descriptors = 4'000; // both ends are this process's
  rlimit open_files{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &open_files) == 0);
  if (open_files.rlim_max < descriptors) {
    MESSAGE("SKIPPED: this process may not open " << descriptors << " files");
    return;
  }
  open_files.rlim_cur = std::max(open_files.rlim_cur, descriptors);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &open_files) == 0);
  guarded_pair planes;
  const auto content = random_bundle(100'000, 3);
  const auto offered = planes.a.publish(content);
  CHECK(same(pull(planes.b, offered).value, content));
  const double before = resident_mib();
  std::vector<std::unique_ptr<unruly_peer>> silent;
  for (int i = 0; i < 1'500; ++i) // UCX would hold 128 KiB for each
    silent.push_back(std::make_unique<unruly_peer>(planes.where, planes.key, magic.substr(0, 1)));
  CHECK(silent.front()->is_closed());
  CHECK(same(pull(planes.b, offered).value, content));
  MESSAGE("1,500 silent peers: " << before << " MiB before, then " << resident_mib() << " MiB");
  CHECK(resident_mib() < before + 64);
}

TEST_CASE("bundles of every size come through what is checked") {
  const turned_away nobody;
  pair_of_planes planes(wire::tcp);
  for (std::size_t bytes = 100; bytes < 150'000; bytes += 613) {
    CAPTURE(bytes);
    const auto content = random_bundle(bytes, bytes);
    REQUIRE(same(pull(planes.b, planes.a.publish(content)).value, content));
  }
  CHECK(nobody.lines().empty());
}

} // namespace unruly_peer_test
