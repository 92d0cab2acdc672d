#include "runtime/collective/connect_ranks.hpp"
#include "tests/runtime/collective/devices_in_memory.hpp"
#include "tests/runtime/collective/ranks.hpp"

namespace connect_ranks_test {

using namespace millrace;
using namespace millrace::collective;
using namespace millrace::collective::testing;

namespace {

using ports = std::vector<std::shared_ptr<const device_port>>;

struct outcome {
  std::vector<std::string> how, thrown;
};

/// Connects a rank for each port, and lets them exchange a number.
outcome connected_over(rank_wire wire, const ports& of_ranks) {
  const auto size = static_cast<int>(of_ranks.size());
  const words_of_all words(size);
  outcome found{.how = std::vector<std::string>(of_ranks.size()), .thrown = {}};
  found.thrown = on_ranks(size, [&](int rank) {
    const auto at = static_cast<std::size_t>(rank);
    const auto made = connect_ranks(options_of(rank, size), wire, of_ranks[at].get(), words.of(rank));
    exchange_one(*made.ranks);
    found.how[at] = made.how;
  });
  return found;
}

} // namespace

TEST_CASE("ranks with a device each exchange over its wire") {
  devices_in_memory devices;
  const auto found =
      connected_over(rank_wire::automatic, {devices.port("a"), devices.port("\xff\x80"), devices.port("c")});
  CHECK(found.thrown == std::vector<std::string>(3));
  CHECK(found.how == std::vector<std::string>(3, "memory 1"));
  CHECK(devices.sent() == 6);
}

TEST_CASE("ranks that cannot all send from device to device agree on Gloo, and say why") {
  devices_in_memory devices;
  for (const auto& [of_ranks, why] : std::vector<std::pair<ports, std::string>>{
           {{devices.port("a"), devices.port("a")}, "Gloo: rank 1 and rank 0 share one GPU"},
           {{devices.port("a"), devices.port("b", "memory 2")}, "Gloo: rank 1 has memory 2 and rank 0 has memory 1"},
           {{devices.port("a"), nullptr}, "Gloo: rank 1 computes on cpu"},
           {{port_of(at::kCPU), port_of(at::kCPU)}, "Gloo: rank 0 computes on cpu"}}) {
    const auto found = connected_over(rank_wire::automatic, of_ranks);
    CHECK(found.thrown == std::vector<std::string>(2));
    CHECK(found.how == std::vector<std::string>(2, why));
  }
  CHECK(devices.sent() == 0);
}

TEST_CASE("who asks for Gloo gets it") {
  devices_in_memory devices;
  const auto found = connected_over(rank_wire::gloo, {devices.port("a"), devices.port("b")});
  CHECK(found.how == std::vector<std::string>(2, "Gloo"));
  CHECK(devices.sent() == 0);
}

TEST_CASE("who asks for NCCL where it cannot be is refused on every rank") {
  const auto found = connected_over(rank_wire::nccl, {port_of(at::kCPU), port_of(at::kCPU)});
  CHECK(found.thrown
        == std::vector<std::string>(2, "collective: found \"nccl\", but rank 0 computes on cpu; want \"auto\", "
                                       "\"gloo\" or a GPU for each rank"));
}

} // namespace connect_ranks_test
