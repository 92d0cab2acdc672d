#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <regex>

namespace memory_test {

// What saves memory changes nothing that is learned.

using namespace millrace::tests;

namespace {

strings with(const std::string& set) {
  return {"--set", set};
}

strings curve_of(const tiny_run& run, const strings& sets) {
  const auto done = run_to_end(run.start(sets), 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  return run.files().learning_curve();
}

} // namespace

TEST_CASE("activation checkpointing of policy and critic leaves the learning curve as it is, bit for bit") {
  const tiny_pipeline pipeline{.steps = 4, .reference = true, .critic = true};
  const tiny_run kept(pipeline), recomputed(pipeline);
  const auto want = curve_of(kept, {});
  CHECK(curve_of(recomputed, {"--set", "roles.learner.activation_checkpointing=true", "--set",
                              "roles.critic.activation_checkpointing=true"})
        == want);
}

TEST_CASE(
    "a cache for one answer leaves the learning curve as it is, and a replay repeats it; a smaller one is refused") {
  const tiny_pipeline pipeline{.steps = 4, .max_new_tokens = 40};
  const tiny_run refused(pipeline), whole(pipeline), bounded(pipeline);
  const auto no = run_to_end(refused.start(with("roles.rollout.cache_bytes=1000")), 60);
  CAPTURE(no.err);
  CHECK(no.status == 1);
  std::smatch found;
  REQUIRE(std::regex_search(no.err, found, std::regex("cache_bytes: 1000, want at least ([0-9]+): one answer of")));
  const auto want = curve_of(whole, {});
  CHECK(curve_of(bounded, with("roles.rollout.cache_bytes=\"" + found[1].str() + " B\"")) == want);
  CHECK(read_file(bounded.files().folder() / "trace.json").find("waits_for_cache") != std::string::npos);
  const auto again = run_to_end(command_line({"replay", bounded.files().folder().string()}), 60);
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

TEST_CASE("a dry run plans the bounded cache") {
  const tiny_run run;
  auto command = run.start(with("roles.rollout.cache_bytes=\"256 KiB\""));
  command.push_back("--dry-run");
  const auto done = run_to_end(command);
  CAPTURE(done.err);
  CHECK(done.status == 0);
  CHECK(done.err.find("caches within cache_bytes 256.0 KiB") != std::string::npos);
}

TEST_CASE("bytes are written with a unit or as a number, and anything else is refused in a line") {
  const tiny_run run;
  CHECK(run_to_end(run.check(with("roles.rollout.cache_bytes=\"1.5 GiB\""))).status == 0);
  CHECK(run_to_end(run.check(with("roles.rollout.cache_bytes=1500000000"))).status == 0);
  for (const char* bad : {"\"1.5\"", "\"many\"", "-1", "1.5", "true"}) {
    const auto done = run_to_end(run.check(with(std::string("roles.rollout.cache_bytes=") + bad)));
    CAPTURE(done.err);
    CHECK(done.status == 1);
    CHECK(done.err.find("want bytes as an integer, or as text with a unit such as \"24 GiB\"") != std::string::npos);
  }
}

} // namespace memory_test
