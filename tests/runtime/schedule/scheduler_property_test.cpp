#include "tests/runtime/schedule/random_run.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

using namespace millrace::schedule;

namespace {

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value ? std::strtoull(value, nullptr, 10) : otherwise;
}

} // namespace

// S-1 to S-6. MILLRACE_SCHEDULE_EVENTS=100000000 for the long mode, MILLRACE_SCHEDULE_SEED=n to play one run again.
TEST_CASE("scheduler keeps its invariants under random events, deaths, restarts and stops") {
  const auto wanted = setting("MILLRACE_SCHEDULE_EVENTS", 1'000'000);
  const auto single = setting("MILLRACE_SCHEDULE_SEED", 0);
  std::uint64_t events = 0;
  for (auto seed = single ? single : 1; events < wanted && (!single || seed == single); ++seed) {
    random_run run(seed);
    try {
      events += run.play();
    } catch (const std::exception& broken) {
      FAIL("MILLRACE_SCHEDULE_SEED=" << seed << ", event " << run.events() << ": " << std::string(broken.what()));
    }
  }
  MESSAGE(events << " random events");
  CHECK(events > 0);
}
