#include "runtime/transport/fan_out.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>

namespace fan_out_test {

using namespace millrace::transport;

namespace {

constexpr std::uint64_t owner = 0;

/// Who gives to the reader, the owner being 0.
std::uint64_t giver(fan_out& fan, std::uint64_t reader, const std::string& host) {
  return fan.giver_for({reader, 7}, host).value_or(owner);
}

} // namespace

TEST_CASE("two hosts get it from the owner, the next ones from these, and a host's others from its first") {
  fan_out fan;
  CHECK(giver(fan, 1, "a") == owner);
  CHECK(giver(fan, 2, "b") == owner);
  CHECK(giver(fan, 3, "c") == 1);
  CHECK(giver(fan, 4, "d") == 1);
  CHECK(giver(fan, 5, "e") == 2);
  CHECK(giver(fan, 6, "f") == 2);
  CHECK(giver(fan, 7, "g") == 3);
  CHECK(giver(fan, 11, "a") == 1);
  CHECK(giver(fan, 12, "a") == 1);
  CHECK(giver(fan, 13, "a") == 1);
  CHECK(giver(fan, 14, "g") == 7);
  CHECK(giver(fan, 8, "h") == 3);
}

TEST_CASE("who asks again gets it from the owner") {
  fan_out fan;
  for (std::uint64_t reader = 1; reader <= 3; ++reader)
    giver(fan, reader, std::to_string(reader));
  CHECK(giver(fan, 3, "3") == owner);
  CHECK(fan.giver_for({3, 8}, "4") == 1); // another life of it is another reader
}

TEST_CASE("nobody is sent to a reader that is lost") {
  fan_out fan;
  giver(fan, 1, "a");
  giver(fan, 2, "b");
  fan.lost({1, 7});
  CHECK(giver(fan, 3, "a") == owner); // in the lost one's place
  CHECK(giver(fan, 4, "c") == 2);
  fan.lost({2, 7});
  fan.lost({3, 7});
  fan.lost({4, 7});
  CHECK(giver(fan, 5, "b") == owner);
}

TEST_CASE("however many readers come from however many hosts, each gives two copies over the network at most") {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    fan_out fan;
    const std::uint64_t readers = 1 + random() % 60, hosts = 1 + random() % 40;
    std::map<std::uint64_t, std::string> host_of;
    std::map<std::uint64_t, int> copies, depth;
    for (std::uint64_t reader = 1; reader <= readers; ++reader) {
      const auto host = std::to_string(random() % hosts);
      const auto from = giver(fan, reader, host);
      REQUIRE(from < reader); // has asked before, or is the owner
      depth[reader] = depth[from] + 1;
      CHECK(depth[reader] <= 7);
      if (from == owner || host_of[from] != host)
        CHECK(++copies[from] <= 2);
      host_of[reader] = host;
    }
  }
}

} // namespace fan_out_test
