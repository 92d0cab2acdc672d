#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

namespace dynamic_sampling_test {

using namespace millrace::tests;

namespace {

strings setting(std::initializer_list<const char*> settings) {
  strings sets;
  for (const char* one : settings)
    sets.insert(sets.end(), {"--set", one});
  return sets;
}

/// Dropped tokens by a reason, out of status.json.
std::int64_t dropped(const run_on_disk& files, const std::string& reason) {
  const auto by_reason = files.status().at("ledger").at("dropped");
  return by_reason.contains(reason) ? by_reason.at(reason).get<std::int64_t>() : 0;
}

std::int64_t generated(const run_on_disk& files) {
  return files.status().at("ledger").at("generated").get<std::int64_t>();
}

std::int64_t trained(const run_on_disk& files) {
  return files.status().at("ledger").at("trained").get<std::int64_t>();
}

} // namespace

TEST_CASE("dynamic sampling: every trained group has variance, and the ledger has the others by their reason") {
  for (const char* preset : {"synchronous", "bounded"}) {
    CAPTURE(preset);
    const tiny_run plain({.steps = 12, .preset = preset}), with({.steps = 12, .preset = preset});
    const char* seldom = "roles.rules.rules=[{type = \"format\", pattern = \"^[a-e0-9]\", match = \"search\"}]";
    REQUIRE(run_to_end(plain.start(setting({seldom}))).status == 0);
    double flat = 0;
    for (const auto& row : plain.files().metrics())
      flat += row.at("frac_reward_zero_std").get<double>();
    REQUIRE(flat > 0); // answers of a prompt often earn the same
    const auto done = run_to_end(
        with.start(setting({seldom, "schedule.drop_zero_variance=true", "schedule.extra_groups_per_step=1000"})));
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    for (const auto& row : with.files().metrics())
      CHECK(row.at("frac_reward_zero_std") == 0);
    CHECK(dropped(with.files(), "zero_variance") > 0);
    CHECK(with.files().status().at("ledger").at("live") == 0);
  }
}

TEST_CASE("the limit of replaced groups keeps a run from sampling for ever") {
  const tiny_run run({.steps = 3});
  // A rule that all answers earn alike: nothing ever has variance.
  const auto done =
      run_to_end(run.start(setting({"schedule.drop_zero_variance=true", "schedule.extra_groups_per_step=2",
                                    "roles.rules.rules=[{type = \"length\", max = 1000}]"})));
  CAPTURE(done.err);
  CHECK(done.status == 0);
  CHECK(run.files().steps() == 3);
  CHECK(run.files().metrics().back().at("groups/zero_variance") == 6);
}

TEST_CASE("a greedy baseline is sampled, scored and not trained") {
  const tiny_run run({.steps = 4});
  const auto done =
      run_to_end(run.start(setting({"roles.rollout.greedy_baseline=true", "roles.learner.algorithm=remax"})));
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  CHECK(dropped(run.files(), "baseline") > 0);
  CHECK(generated(run.files()) == trained(run.files()) + dropped(run.files(), "baseline"));
  // Beside it, answers are what they were.
  const tiny_run plain({.steps = 1}), with({.steps = 1});
  REQUIRE(run_to_end(plain.start()).status == 0);
  REQUIRE(run_to_end(with.start(setting({"roles.rollout.greedy_baseline=true"}))).status == 0);
  CHECK(plain.files().learning_curve() == with.files().learning_curve());
}

TEST_CASE("ReMax without a greedy baseline is an error that says what to write") {
  const tiny_run run;
  const auto done = run_to_end(run.start(setting({"roles.learner.algorithm=remax"})));
  CHECK(done.status == 1);
  CHECK(done.err.find("want greedy_baseline = true in the rollout upstream of it") != std::string::npos);
}

TEST_CASE("masked answers have no part in the loss and are told from trained tokens") {
  const tiny_run run({.steps = 3});
  const auto done = run_to_end(run.start(setting({"roles.learner.mask_truncated=true"})));
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  const auto masked = dropped(run.files(), "masked");
  CHECK(masked > 0);
  CHECK(generated(run.files()) == trained(run.files()) + masked);
  for (const auto& row : run.files().metrics())
    CHECK(row.at("response_length/mean") > 0); // of all answers, also where every one of a step was masked
}

} // namespace dynamic_sampling_test
