#include "runtime/collective/connect_ranks.hpp"
#include "tests/runtime/collective/ranks.hpp"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace nccl_port_test {

using namespace millrace;
using namespace millrace::collective;
using namespace millrace::collective::testing;

namespace {

/// @returns the GPUs of this machine, or none, aloud
int gpus(int wanted) {
  const int there = at::hasCUDA() ? c10::impl::VirtualGuardImpl(at::kCUDA).deviceCount() : 0;
  if (there < wanted)
    MESSAGE("skipped: want " << wanted << " GPUs, found " << there);
  return there < wanted ? 0 : there;
}

at::Device gpu(int index) {
  return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

/// Waits for a wire. @returns whether it came to its end within ten seconds
bool ends(device_wire& wire) {
  const auto start = clk::now();
  while (!wire.ended())
    if (clk::now() - start > std::chrono::seconds(10))
      return false;
  return true;
}

} // namespace

TEST_CASE("NCCL: one rank connects, and goes") {
  if (gpus(1) == 0)
    return;
  const auto port = port_of(gpu(0));
  CHECK(port->facts().gpu.size() == 16);
  CHECK(port->facts().library.starts_with("NCCL 2."));
  const auto wire = port->connect(0, 1, port->invitation());
  REQUIRE(ends(*wire));
  const std::vector<at::Tensor> nothing(1);
  wire->start(nothing, nothing);
  CHECK(ends(*wire));
}

TEST_CASE("NCCL: what GPUs send each other arrives, behind what they compute") {
  const int size = std::min(gpus(2), 4);
  if (size == 0)
    return;
  const words_of_all words(size);
  const auto thrown = on_ranks(size, [&](int rank) {
    const auto port = port_of(gpu(rank));
    const auto made = connect_ranks(options_of(rank, size), rank_wire::nccl, port.get(), words.of(rank));
    const std::vector<std::int64_t> lengths(static_cast<std::size_t>(size), 1 << 20);
    for (int i = 0; i < 10; ++i) {
      at::Tensor own = at::full({1 << 20}, rank, at::TensorOptions(gpu(rank)).dtype(at::kFloat));
      for (int k = 0; k < 100; ++k)
        own.add_(1);
      const auto all = gather(*made.ranks, own, lengths);
      for (int r = 0; r < size; ++r)
        if (all[static_cast<std::size_t>(r)].ne(100 + r).any().item<bool>())
          throw std::runtime_error("rank " + std::to_string(r) + "'s numbers are others");
    }
  });
  CHECK(thrown == std::vector<std::string>(static_cast<std::size_t>(size)));
}

TEST_CASE("NCCL: a rank that goes ends the exchange of the others when they are told, and not before") {
  if (gpus(2) == 0)
    return;
  const words_of_all words(2);
  std::vector<std::unique_ptr<group>> ranks(2);
  REQUIRE(on_ranks(2,
                   [&](int rank) {
                     const auto port = port_of(gpu(rank));
                     ranks[static_cast<std::size_t>(rank)] =
                         connect_ranks(options_of(rank, 2), rank_wire::nccl, port.get(), words.of(rank)).ranks;
                   })
          == std::vector<std::string>(2));
  const auto thrown = on_ranks(2, [&](int rank) {
    if (rank == 1)
      return ranks[0]->abort("rank 1 is gone");
    const std::vector<std::int64_t> lengths{4, 4};
    gather(*ranks[0], at::ones({4}, at::TensorOptions(gpu(0)).dtype(at::kFloat)), lengths);
  });
  CHECK(thrown[0] == "rank 1 is gone");
}

} // namespace nccl_port_test
