#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <string>

namespace plan_scoring_test {

using namespace millrace::tests;

/// A plan that measures this machine.
finished_command planned(const tiny_run& run, const std::string& rules) {
  auto done = run_to_end(
      plan_of(run.start({"--set", "schedule.preset=synchronous", "--set", "roles.rules.rules=" + rules})), 120);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  return done;
}

double planned_step_s(const tiny_run& run, const std::string& rules) {
  return nlohmann::json::parse(planned(run, rules).out).at("step_s");
}

TEST_CASE("plan measures what rules take to score a group, and a synchronous step waits for them") {
  const tiny_run run;
  const auto file = run / "reward.py";
  write_file(file, "import time\n"
                   "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
                   "    time.sleep(0.5)\n"
                   "    return 1.0\n");
  const auto quick = planned_step_s(run, "[{type=\"number\"}]");
  const auto slow = planned_step_s(run, "[{type=\"python\",file=\"" + file.string() + "\"}]");
  CAPTURE(quick);
  CAPTURE(slow);
  CHECK(slow > quick + 0.5); // the answers of a group, one behind the other where there are fewer workers than answers
}

TEST_CASE("plan says which groups the rules could not score, and why") {
  const tiny_run run;
  const auto file = run / "reward.py";
  write_file(file, "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
                   "    raise ValueError('no such unit')\n");
  const auto done = planned(run, "[{type=\"python\",file=\"" + file.string() + "\"}]");
  CAPTURE(done.err);
  CHECK(done.err.find("rules could not score ") != std::string::npos);
  CHECK(done.err.find("no such unit") != std::string::npos);
}

} // namespace plan_scoring_test
