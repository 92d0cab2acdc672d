#include "runtime/access/refusals.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace refusals_test {

using namespace millrace::access;
using namespace std::chrono_literals;

TEST_CASE("the first refusal is told at once, the next ones in one line, and after a quiet pause at once again") {
  boost::asio::io_context loop;
  std::vector<std::string> told;
  refusals record(
      loop, [&](const std::string& line) { told.push_back(line); }, 20ms);
  record.add("10.0.0.9:1", "no proof");
  REQUIRE(told.size() == 1);
  CHECK(told[0] == "turned away 10.0.0.9:1: no proof");
  record.add("10.0.0.9:2", "no proof");
  record.add("10.0.0.9:3", "no proof");
  record.add("10.0.0.9:4", "too slow");
  CHECK(told.size() == 1);
  loop.run(); // both pauses
  REQUIRE(told.size() == 2);
  CHECK(told[1] == "turned away 10.0.0.9:4: too slow (and 2 more since the line before)");
  record.add("10.0.0.9:5", "no proof");
  REQUIRE(told.size() == 3);
  record.add("10.0.0.9:6", "no proof");
  loop.restart();
  loop.run();
  REQUIRE(told.size() == 4);
  CHECK(told[3] == "turned away 10.0.0.9:6: no proof");
}

} // namespace refusals_test
