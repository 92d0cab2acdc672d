#include "runtime/telemetry/trace.hpp"
#include "runtime/telemetry/trace_file.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <thread>

namespace trace_test {

using namespace millrace;
using namespace millrace::telemetry;
using millrace::tests::temporary_folder;
using nlohmann::json;

namespace {

span span_of(std::string track, double start_s, double duration_s) {
  return {std::move(track), "decode", std::string{cause::compute}, start_s, duration_s, {{"tokens", 32}}};
}

json events_of_kind(const json& events, const char* kind) {
  json found = json::array();
  std::copy_if(events.begin(), events.end(), std::back_inserter(found), [&](const json& e) { return e["ph"] == kind; });
  return found;
}

} // namespace

TEST_CASE("spans of many threads all arrive, whole, each once") {
  constexpr int threads = 8;
  constexpr int spans_each = 2000;
  tracer collected;
  trace_batch all;
  {
    std::vector<std::jthread> writers;
    for (int thread = 0; thread < threads; ++thread)
      writers.emplace_back([&collected, thread] {
        for (int i = 0; i < spans_each; ++i) {
          collected.record(span_of("rollout/" + std::to_string(thread), i, 1));
          collected.record(counter{"rollout", "slots", 0, static_cast<double>(i)});
        }
      });
    for (int i = 0; i < 50; ++i) {
      auto part = collected.take();
      std::move(part.spans.begin(), part.spans.end(), std::back_inserter(all.spans));
      std::move(part.counters.begin(), part.counters.end(), std::back_inserter(all.counters));
    }
  }
  auto rest = collected.take();
  std::move(rest.spans.begin(), rest.spans.end(), std::back_inserter(all.spans));
  std::move(rest.counters.begin(), rest.counters.end(), std::back_inserter(all.counters));
  CHECK(all.counters.size() == threads * spans_each);
  std::map<std::string, std::set<double>> starts;
  for (const auto& s : all.spans)
    starts[s.track].insert(s.start_s);
  REQUIRE(starts.size() == threads);
  for (const auto& [track, seen] : starts)
    CHECK(seen.size() == spans_each);
  CHECK(all.spans.size() == threads * spans_each);
  CHECK(collected.take().spans.empty());
}

TEST_CASE("a tracer that nobody empties does not grow, and counts what it dropped") {
  tracer small{2};
  for (int i = 0; i < 5; ++i)
    small.record(span_of("a", i, 1));
  CHECK(small.dropped() == 3);
  CHECK(small.take().spans.size() == 2);
  small.record(span_of("a", 9, 1));
  CHECK(small.take().spans.size() == 1);
}

TEST_CASE("a timed block is a span from its beginning to its end") {
  tracer collected;
  const double before_s = now_s();
  {
    timed block{collected, "learner", "train step 1", cause::compute};
    block.arg("tokens", 100);
  }
  const auto spans = collected.take().spans;
  REQUIRE(spans.size() == 1);
  CHECK(spans[0].track == "learner");
  CHECK(spans[0].start_s >= before_s);
  CHECK(spans[0].start_s + spans[0].duration_s <= now_s());
  CHECK(spans[0].args == std::vector<std::pair<std::string, double>>{{"tokens", 100}});
}

TEST_CASE("a trace names processes and tracks and holds spans in microseconds from its start") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "trace.json";
  {
    trace_file file{path, 100};
    file.add({{span_of("learner", 101.5, 0.25)}, {{"learner", "queue", 102, 3}}}, 10, "run", 0);
    file.add({{span_of("learner", 103, 1)}, {}}, 10, "run", 0);
    file.add({{span_of("rollout/1", 1, 1)}, {}}, 11, "rollout \"1\"\n", 101); // its clock is 101 s behind
  }
  const auto events = json::parse(run_files::read_file(path));
  const auto spans = events_of_kind(events, "X");
  REQUIRE(spans.size() == 3);
  CHECK(spans[0] == json::parse(R"({"ph":"X","pid":10,"tid":1,"name":"decode","cat":"compute","ts":1.5e6,"dur":2.5e5,
                           "args":{"tokens":32.0}})"));
  CHECK(spans[1]["tid"] == 1);
  CHECK(spans[2]["ts"] == 2e6);
  CHECK(spans[2]["pid"] == 11);
  CHECK(spans[2]["tid"] == 2);
  const auto counters = events_of_kind(events, "C");
  REQUIRE(counters.size() == 1);
  CHECK(counters[0]["args"]["queue"] == 3);
  std::set<std::string> names;
  for (const auto& event : events_of_kind(events, "M"))
    if (event["args"].contains("name"))
      names.insert(event["args"]["name"]);
  CHECK(names == std::set<std::string>{"run", "learner", "rollout \"1\"\n", "rollout/1"});
}

TEST_CASE("a trace holds names and numbers of any kind as JSON does") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "trace.json";
  {
    trace_file file{path, 0};
    file.add({{{"a",
                "quote \" and \\ and \n and \xff",
                "w\u00e4it",
                0.1,
                1e-9,
                {{"n\"", 1e300}, {"none", NAN}, {"third", 1.0 / 3}}}},
              {{"a", "q\t", 1, -0.5}}},
             10, "run", 0);
  }
  const auto events = json::parse(run_files::read_file(path));
  const auto span = events_of_kind(events, "X").at(0);
  CHECK(span["name"] == "quote \" and \\ and \n and \xef\xbf\xbd"); // the character for bytes that are none
  CHECK(span["cat"] == "w\u00e4it");
  CHECK(span["ts"] == 1e5);
  CHECK(span["dur"] == 1e-3);
  CHECK(span["args"] == json{{"n\"", 1e300}, {"none", nullptr}, {"third", 1.0 / 3}});
  CHECK(events_of_kind(events, "C").at(0)["args"] == json{{"q\t", -0.5}});
}

TEST_CASE("a trace whose process was killed is an array without its end, every event whole") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "trace.json";
  trace_file file{path, 0};
  for (int i = 0; i < 3; ++i)
    file.add({{span_of("learner", i, 1)}, {}}, 10, "run", 0);
  auto text = run_files::read_file(path); // as it is while the run goes on
  REQUIRE(text.ends_with(",\n"));
  text.replace(text.size() - 2, 2, "]");
  CHECK(events_of_kind(json::parse(text), "X").size() == 3);
}

TEST_CASE("a trace that has reached its bound says so once and stops") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "trace.json";
  {
    trace_file file{path, 0, 2000};
    for (int i = 0; i < 1000; ++i)
      file.add({{span_of("learner", i, 1)}, {}}, 10, "run", 0);
  }
  CHECK(std::filesystem::file_size(path) < 3000);
  const auto events = json::parse(run_files::read_file(path));
  CHECK(events_of_kind(events, "X").size() > 5);
  CHECK(events_of_kind(events, "i").size() == 1);
}

} // namespace trace_test
