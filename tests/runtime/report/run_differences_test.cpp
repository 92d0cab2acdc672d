#include "runtime/report/run_differences.hpp"

#include <doctest/doctest.h>

namespace run_differences_test {

using namespace millrace;
using namespace millrace::report;

namespace {

recorded_run run_with(const std::string& machine, const std::string& resolved) {
  recorded_run run;
  run.status.machine = machine;
  run.settings = settings_in(resolved);
  return run;
}

} // namespace

TEST_CASE("a resolved file is keys with their tables and values without comments") {
  const auto settings = settings_in(R"(# a.toml, every key spelled out
[run]
name = "a # b \" #"                              # a.toml:2
seed = 1                                          # default

[[roles.rules.rules]]
type = "number" # x
[[roles.rules.rules]]
type = "exact"
[schedule]
preset = "bounded"
)");
  CHECK(settings
        == run_settings{{"run.name", "\"a # b \\\" #\""},
                        {"run.seed", "1"},
                        {"roles.rules.rules.0.type", "\"number\""},
                        {"roles.rules.rules.1.type", "\"exact\""},
                        {"schedule.preset", "\"bounded\""}});
}

TEST_CASE("runs differ in the machine and in keys, also in keys that one of them has not") {
  const std::vector<recorded_run> runs{run_with("here, 2 cores", "[run]\nseed = 1\nsteps = 3\n"),
                                       run_with("there, 4 cores", "[run]\nseed = 2\nsteps = 3\nextra = true\n")};
  const auto found = differences(runs);
  REQUIRE(found.size() == 3);
  CHECK(found[0].what == "machine");
  CHECK(found[0].values == std::vector<std::string>{"here, 2 cores", "there, 4 cores"});
  CHECK(found[1].what == "run.seed");
  CHECK(found[1].values == std::vector<std::string>{"1", "2"});
  CHECK(found[2].what == "run.extra");
  CHECK(found[2].values == std::vector<std::string>{"", "true"});
}

TEST_CASE("equal runs differ in nothing") {
  const std::vector<recorded_run> runs(2, run_with("here, 2 cores", "[run]\nseed = 1\n"));
  CHECK(differences(runs).empty());
}

} // namespace run_differences_test
