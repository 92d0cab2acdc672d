#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

namespace trace_test {

using namespace millrace::tests;

TEST_CASE("the trace and the time table hold what placed processes did to the end of the run") {
  const tiny_run run; // over in less than the second between two reports
  const auto done = run_to_end(run.start(placed_apart(false)));
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  std::int64_t decoded = 0, steps_trained = 0;
  for (const auto& event : nlohmann::json::parse(read_file(run.files().folder() / "trace.json"))) {
    if (event.at("name") == "decode")
      decoded += event.at("args").at("tokens").get<std::int64_t>();
    steps_trained += event.at("name").get<std::string>().starts_with("train step ");
  }
  CHECK(decoded == run.files().status().at("ledger").at("generated").get<std::int64_t>());
  CHECK(steps_trained == 6);
  for (const auto* role : {"learner", "rollout", "rules"})
    CHECK_MESSAGE(done.err.find(role) != std::string::npos, role);
}

} // namespace trace_test
