#include "runtime/transport/interface.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <stdexcept>
#include <string>

namespace interface_test {

using namespace millrace::transport;

TEST_CASE("the loopback device is meant by nothing, by its name and by its address, and it is up") {
  CHECK(interface_of("") == "lo");
  CHECK(interface_of("lo") == "lo");
  CHECK(interface_of("127.0.0.1") == "lo");
  for (const auto* bind : {"", "lo", "127.0.0.1"})
    CHECK(wait_until_up(bind, {}));
}

TEST_CASE("an address that this machine does not have is one line that says which it has") {
  for (const auto* bind : {"192.0.2.1", "none0"}) {
    try {
      wait_until_up(bind, std::chrono::seconds(10));
      FAIL("it was waited for");
    } catch (const std::runtime_error& wrong) {
      const std::string line = wrong.what();
      CHECK(line.starts_with(std::string("bind '") + bind + "': want an address or interface of this machine ("));
      CHECK(line.find("lo 127.0.0.1") != std::string::npos);
    }
  }
}

} // namespace interface_test
