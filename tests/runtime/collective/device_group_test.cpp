#include "runtime/collective/device_group.hpp"
#include "tests/runtime/collective/devices_in_memory.hpp"
#include "tests/runtime/collective/ranks.hpp"
#include "tests/support/eventually.hpp"

#include <future>

namespace device_group_test {

using namespace millrace::collective;
using namespace millrace::collective::testing;
using namespace millrace::tests;
using namespace std::chrono_literals;

namespace {

/// Ranks over Gloo whose tensors on the CPU count as tensors on devices.
struct device_ranks {
  explicit device_ranks(int size, std::chrono::milliseconds within = 30s) {
    for (auto& host : connected(size))
      each.push_back(std::make_unique<device_group>(std::move(host), within));
    const auto thrown = on_ranks(size, [&](int rank) { of(rank).connect(*devices.port(std::to_string(rank)), 30s); });
    REQUIRE(thrown == std::vector<std::string>(static_cast<std::size_t>(size)));
  }

  device_group& of(int rank) { return *each[static_cast<std::size_t>(rank)]; }

  devices_in_memory devices;
  std::vector<std::unique_ptr<device_group>> each;
};

} // namespace

TEST_CASE("tensors on devices go over their wire, to the rank that they are for") {
  device_ranks ranks(3);
  const auto thrown = on_ranks(3, [&](int rank) {
    for (int i = 0; i < 20; ++i)
      exchange_one(ranks.of(rank));
  });
  CHECK(thrown == std::vector<std::string>(3));
  CHECK(ranks.devices.sent() == 20 * 3 * 2);
}

TEST_CASE("a rank without tensors waits for the others' farewell") { // CO-1
  device_ranks ranks(3);
  std::atomic<int> under_way = 0;
  const auto thrown = on_ranks(3, [&](int rank) {
    std::vector<at::Tensor> outgoing(3), incoming(3);
    if (rank == 0)
      outgoing[1] = at::full({5}, 7, at::kLong);
    if (rank == 1)
      incoming[0] = at::zeros({5}, at::kLong);
    ++under_way;
    ranks.of(rank).exchange(outgoing, incoming);
    if (under_way != 3)
      throw std::runtime_error("an exchange ended before all ranks had come");
    if (rank == 1 && !incoming[0].equal(at::full({5}, 7, at::kLong)))
      throw std::runtime_error("not the tensor that was sent");
  });
  CHECK(thrown == std::vector<std::string>(3));
}

TEST_CASE("an abort ends an exchange on devices at once, and every later one for the same reason") { // CO-2, CO-3
  device_ranks ranks(2);
  ranks.devices.freeze();
  auto first = std::async(std::launch::async, [&] { exchange_one(ranks.of(0)); });
  CHECK(eventually([&] {
    const auto waits = ranks.of(0).waits();
    return waits && waits->on == std::vector<int>{1};
  }));
  const auto start = clk::now();
  ranks.of(0).abort("rank 1 is gone");
  CHECK_THROWS_WITH_AS(first.get(), "rank 1 is gone", lost);
  CHECK(milliseconds_since(start) < 1000);
  CHECK_THROWS_WITH_AS(exchange_one(ranks.of(0)), "rank 1 is gone", lost);
  CHECK_FALSE(ranks.of(0).waits());
  CHECK_THROWS_AS(exchange_one(ranks.of(1)), lost); // the other rank hears of it over Gloo, if nobody else says so
}

TEST_CASE("a rank that stays away is named at the deadline") {
  device_ranks ranks(3, 50ms);
  CHECK_THROWS_WITH_AS(exchange_one(ranks.of(0)),
                       "rank 1 and rank 2 did not take part in an exchange on devices within 50 ms", lost);
}

TEST_CASE("what the wire says of its failure is said of the exchange") {
  device_ranks ranks(2);
  ranks.devices.fail("NCCL: unhandled system error");
  CHECK_THROWS_WITH_AS(exchange_one(ranks.of(0)), "NCCL: unhandled system error", lost);
  CHECK_THROWS_WITH_AS(exchange_one(ranks.of(0)), "NCCL: unhandled system error", lost);
}

TEST_CASE("tensors that are not as wanted are refused before anything is sent") {
  device_ranks ranks(2);
  const std::vector<at::Tensor> nothing(2);
  const std::vector<at::Tensor> one(1), slanted{at::Tensor(), at::zeros({4, 4}).t()};
  CHECK_THROWS_WITH_AS(ranks.of(0).exchange(one, nothing), "outgoing: want 2 tensors, one a rank, got 1",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(ranks.of(0).exchange(nothing, slanted),
                       "incoming[1]: want a contiguous tensor, got [4, 4] with strides [1, 4]", std::invalid_argument);
  CHECK(ranks.devices.sent() == 0);
}

} // namespace device_group_test
