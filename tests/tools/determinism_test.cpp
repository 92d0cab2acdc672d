#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace determinism_test {

using namespace millrace::tests;

TEST_CASE("a synchronous run has the same losses, bit for bit, in one process and in many") {
  for (const bool reference : {false, true}) {
    CAPTURE(reference);
    const tiny_pipeline pipeline{.steps = 6, .reference = reference};
    const tiny_run alone(pipeline);
    const tiny_run apart(pipeline);
    const auto one = run_to_end(alone.start());
    CAPTURE(one.err);
    REQUIRE(one.status == 0);
    const auto many = run_to_end(apart.start(placed_apart(reference)));
    CAPTURE(many.err);
    REQUIRE(many.status == 0);

    const auto curve = alone.files().learning_curve();
    REQUIRE(curve.size() == 6);
    CHECK(apart.files().learning_curve() == curve);
    for (const auto& row : alone.files().metrics())
      CHECK(row.at("actor/grad_norm") > 0); // it learns: equal curves are not equal for want of a gradient
    if (reference)
      CHECK(alone.files().metrics().back().at("actor/kl_loss") > 0);
    for (const auto* copy : {"rollout/0", "rollout/1", "rules/0", "learner/0"})
      CHECK(apart.files().process_of(copy) > 0);
  }
}

TEST_CASE("a synchronous run that keeps the shortest answers has the same losses, bit for bit, whatever its processes "
          "and slots") {
  const tiny_run wide({.steps = 5, .max_new_tokens = 32});
  const tiny_run narrow({.steps = 5, .max_new_tokens = 32});
  const tiny_run whole({.steps = 5, .max_new_tokens = 32});
  const strings stop{"--set", "roles.rollout.stop=[\"j\", \"q\", \"x\"]"}; // lengths differ
  auto begins_more = stop;
  begins_more.insert(begins_more.end(), {"--set", "schedule.tail.oversample_attempts=1.5"});
  REQUIRE(run_to_end(wide.start(begins_more)).status == 0);
  auto how = placed_apart(false);
  how.insert(how.end(), begins_more.begin(), begins_more.end());
  how.insert(how.end(), {"--set", "roles.rollout.slots=3"});
  const auto many = run_to_end(narrow.start(how));
  CAPTURE(many.err);
  REQUIRE(many.status == 0);
  REQUIRE(run_to_end(whole.start(stop)).status == 0);
  CHECK(narrow.files().learning_curve() == wide.files().learning_curve());
  CHECK(whole.files().learning_curve() != wide.files().learning_curve());
  const auto length = [](const tiny_run& run) {
    return run.files().metrics().front().at("response_length/mean").get<double>();
  };
  CHECK(length(wide) < length(whole));
  CHECK(wide.files().status().at("ledger").at("dropped").at("surplus") > 0);
}

TEST_CASE("a run whose tensors are encrypted on their way is the same, bit for bit, over TCP and in mapped memory") {
  const tiny_run plain({.steps = 6});
  REQUIRE(run_to_end(plain.start(), 60).status == 0);
  for (const auto* transport : {"tcp", "auto"}) {
    CAPTURE(transport);
    const tiny_run run({.steps = 6});
    auto sets = placed_apart(false);
    sets.insert(sets.end(),
                {"--set", "placement.encrypt=true", "--set", std::string("placement.transport=") + transport});
    const auto end = run_to_end(run.start(sets), 60);
    CAPTURE(end.err);
    REQUIRE(end.status == 0);
    CHECK(end.err.find("tensors come over tcp/lo, encrypted") != std::string::npos);
    CHECK(run.files().learning_curve() == plain.files().learning_curve());
    check_each_group_once(run.files(), 6);
  }
}

TEST_CASE("another seed has other losses") {
  const tiny_run first;
  const tiny_run second;
  REQUIRE(run_to_end(first.start()).status == 0);
  REQUIRE(run_to_end(second.start({"--set", "run.seed=8"})).status == 0);
  CHECK(first.files().learning_curve() != second.files().learning_curve());
}

} // namespace determinism_test
