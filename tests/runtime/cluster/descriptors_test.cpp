#include "runtime/cluster/descriptors.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

namespace descriptors_test {

TEST_CASE("the soft limit of descriptors becomes the hard one") {
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit low{64, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
  millrace::cluster::raise_descriptor_limit();
  rlimit after{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &after) == 0);
  CHECK(after.rlim_cur == before.rlim_max);
  CHECK(after.rlim_max == before.rlim_max);
  setrlimit(RLIMIT_NOFILE, &before);
}

} // namespace descriptors_test
