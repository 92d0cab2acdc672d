#include "runtime/report/recorded_run.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/report/recorded_example.hpp"

#include <doctest/doctest.h>

#include <fstream>

namespace recorded_run_test {

using namespace millrace;
using namespace millrace::report;

TEST_CASE("a folder is read whole: status, metrics, spans of every session one after another, answers") {
  tests::temporary_folder here;
  tests::write_example_run(here / "run");
  const recorded_run run = read_recorded_run(here / "run");
  CHECK(run.label == "run");
  CHECK(run.status.ledger.closes());
  REQUIRE(run.metrics.size() == 2);
  CHECK(run.evaluations.size() == 1);
  REQUIRE(run.spans.size() == 5);
  CHECK(run.spans[1].track == "learner/0");
  CHECK(run.spans[1].start_s == doctest::Approx(1));
  CHECK(run.spans[1].args == std::vector<std::pair<std::string, double>>{{"tokens", 900}});
  REQUIRE(run.session_starts.size() == 2);
  CHECK(run.session_starts[1] == doctest::Approx(10));
  CHECK(run.spans[4].start_s == doctest::Approx(10));
  CHECK(run.end_s == doctest::Approx(12));
  REQUIRE(run.counters.size() == 2);
  CHECK(run.counters[1].value == 5);
  REQUIRE(run.answers.size() == 2);
  CHECK(run.answers[0].staleness() == 0); // step 5 trains version 4
  CHECK(run.answers[1].staleness() == 3);
}

TEST_CASE("a run that says it runs and that no process holds is not running") {
  const tests::temporary_folder here;
  tests::write_example_run(here / "run");
  auto status = telemetry::read_status(here / "run" / "status.json").value();
  for (const char* word : {"starting", "running", "stopping", "stopped"}) {
    CAPTURE(word);
    status.state = word;
    telemetry::write_status(here / "run" / "status.json", status);
    CHECK(read_recorded_run(here / "run").status.state == (word == std::string("stopped") ? word : "not running"));
  }
}

TEST_CASE("a line that a crash tore off the end of the trace is left out, damage before it is named") {
  tests::temporary_folder here;
  tests::write_example_run(here / "run");
  const auto trace = here / "run/trace.json";
  const std::string whole = tests::read_file(trace);
  tests::write_file(trace, whole.substr(0, whole.rfind("\"wait_input\"")));
  CHECK(read_recorded_run(here / "run").spans.size() == 4);
  tests::write_file(trace, "[\n{\"ph\":\"X\"},\n]\n");
  CHECK_THROWS_WITH_AS(read_recorded_run(here / "run"), doctest::Contains("trace.json:2:1:"), input_error);
}

TEST_CASE("an earlier program's word for the layout of weights is read as today's") {
  tests::temporary_folder here;
  tests::write_example_run(here / "run");
  tests::write_file(here / "run/trace.json",
                    "[\n{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"name\":\"stage version 12\",\"ts\":0,\"dur\":5},\n]\n");
  const auto spans = read_recorded_run(here / "run").spans;
  REQUIRE(!spans.empty());
  CHECK(spans[0].name == "layout of version 12");
}

TEST_CASE("what is no run's folder is refused in a line") {
  tests::temporary_folder here;
  CHECK_THROWS_AS(read_recorded_run(here.path()), input_error);
  CHECK_THROWS_AS(read_recorded_run(here / "absent"), input_error);
}

} // namespace recorded_run_test
