#include "runtime/collective/device_wire.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace device_wire_test {

using namespace millrace::collective;

namespace {

std::vector<device_facts> two_gpus() {
  return {{.device = "cuda:0", .gpu = "a", .library = "NCCL 2.28.9"},
          {.device = "cuda:1", .gpu = "b", .library = "NCCL 2.28.9"}};
}

} // namespace

TEST_CASE("ranks with a GPU each and the same NCCL send from device to device") {
  CHECK(why_not_direct(two_gpus()).empty());
}

TEST_CASE("a line says which rank keeps tensors from going from device to device") {
  auto ranks = two_gpus();
  ranks[1] = {.device = "cpu", .gpu = "", .library = "NCCL 2.28.9"};
  CHECK(why_not_direct(ranks) == "rank 1 computes on cpu");
  ranks = two_gpus();
  ranks[0].library = "";
  CHECK(why_not_direct(ranks) == "rank 0 has no NCCL");
  ranks = two_gpus();
  ranks[1].library = "NCCL 2.27.3";
  CHECK(why_not_direct(ranks) == "rank 1 has NCCL 2.27.3 and rank 0 has NCCL 2.28.9");
  ranks = two_gpus();
  ranks[1].gpu = "a";
  CHECK(why_not_direct(ranks) == "rank 1 and rank 0 share one GPU");
}

TEST_CASE("the CPU is no GPU") {
  CHECK(port_of(at::kCPU)->facts().device == "cpu");
  CHECK(port_of(at::kCPU)->facts().gpu.empty());
}

} // namespace device_wire_test
