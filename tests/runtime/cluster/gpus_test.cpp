#include "runtime/cluster/gpus.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

namespace gpus_test {

using namespace millrace;
using cluster::gpu_sources, cluster::visible_gpus;
using strings = std::vector<std::string>;

TEST_CASE("GPUs are those that CUDA_VISIBLE_DEVICES lists, up to an entry that CUDA does not take") {
  const auto listed = [](const std::string& variable) { return visible_gpus({.variable = variable}); };
  CHECK(listed("3,5") == strings{"3", "5"});
  CHECK(listed("GPU-8932f937, 1") == strings{"GPU-8932f937", "1"});
  CHECK(listed("2,-1,3") == strings{"2"});
  CHECK(listed("").empty());
  CHECK(listed("-1").empty());
}

TEST_CASE("without the variable GPUs are the devices here, and before their first use those that the driver knows") {
  const tests::temporary_folder folder;
  gpu_sources from{.variable = {}, .devices = folder / "dev", .driver = folder / "driver"};
  CHECK(visible_gpus(from).empty()); // neither is there
  std::filesystem::create_directory(from.devices);
  tests::write_file(from.devices / "nvidiactl", "");
  tests::write_file(from.devices / "null", "");
  CHECK(visible_gpus(from).empty());
  for (const char* bus : {"0000:19:00.0", "0000:3b:00.0", "0000:4c:00.0"})
    std::filesystem::create_directories(from.driver / bus);
  CHECK(visible_gpus(from) == strings{"0", "1", "2"});
  tests::write_file(from.devices / "nvidia6", ""); // a container was given one of three
  CHECK(visible_gpus(from) == strings{"0"});
}

} // namespace gpus_test
