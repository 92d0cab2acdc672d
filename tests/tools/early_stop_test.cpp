#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

namespace early_stop_test {

using namespace millrace::tests;

namespace {

strings setting(std::initializer_list<const char*> settings) {
  strings sets;
  for (const char* one : settings)
    sets.insert(sets.end(), {"--set", one});
  return sets;
}

} // namespace

TEST_CASE("a run that stands still stops early, with a checkpoint, exit status 0 and a sentence that says why") {
  const tiny_run run({.steps = 200});
  const auto done =
      run_to_end(run.start(setting({"run.stop_when=[{metric = \"actor/lr\", patience = 3}]"}))); // it never rises
  CAPTURE(done.err);
  CHECK(done.status == 0);
  CHECK(run.files().steps() == 4);
  CHECK(done.err.find("stopping early: actor/lr has not risen above 0.002 for the last 3 values") != std::string::npos);
  CHECK(done.err.find("tiny: stopped early (actor/lr has not risen above 0.002 for the last 3 values), 4 of 200 steps")
        != std::string::npos);
  CHECK(run.files().status().at("state") == "finished");
  CHECK(std::filesystem::exists(run.files().folder() / "checkpoints/step-000004/model"));
  CHECK(run.files().status().at("ledger").at("live") == 0);
}

TEST_CASE("a limit on the KL divergence from the reference stops a run") {
  const tiny_run run({.steps = 200, .reference = true});
  const auto done =
      run_to_end(run.start(setting({"run.stop_when=[{metric = \"actor/kl_loss\", above = 0.02, over = 2}]"})), 60);
  CAPTURE(done.err);
  CHECK(done.status == 0);
  CHECK(run.files().steps() < 200);
  CHECK(done.err.find("stopping early: actor/kl_loss was ") != std::string::npos);
}

TEST_CASE("a misspelt figure is refused before anything starts") {
  const tiny_run run({.steps = 2});
  const auto done = run_to_end(run.start(setting({"run.stop_when=[{metric = \"rewrad\", above = 0}]"})));
  CHECK(done.status == 1);
  CHECK(done.err.find("run.stop_when.0.metric: found \"rewrad\", want a figure that the pipeline makes, did you mean "
                      "\"reward\"?")
        != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(run.files().folder()));
}

TEST_CASE("the best checkpoint outlives those that are pruned, and can be generated with") {
  const tiny_run run({.steps = 12, .run = "checkpoint_every = 2\ncheckpoints_kept = 1\nkeep_best = \"reward\"\n"});
  const auto done = run_to_end(run.start());
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  const auto best = run.files().folder() / "checkpoints/best";
  const auto about = nlohmann::json::parse(read_file(best / "best.json"));
  // The two steps before the checkpoint have the highest mean reward of all pairs.
  double highest = -1;
  std::int64_t at = 0;
  const auto rows = run.files().metrics();
  for (std::size_t i = 1; i < rows.size(); i += 2)
    if (const double mean = (rows[i - 1].at("reward").get<double>() + rows[i].at("reward").get<double>()) / 2;
        mean > highest) {
      highest = mean;
      at = rows[i].at("step").get<std::int64_t>();
    }
  CHECK(about.at("step") == at);
  CHECK(about.at("value").get<double>() == doctest::Approx(highest));
  CHECK(
      run_to_end(command_line({"generate", (best / "model").string(), "--prompt", "a", "--max-new-tokens", "2"})).status
      == 0);
}

TEST_CASE("what is wrong with keep_best and stop_when is said at their keys") {
  const auto wrong = [](const strings& sets) {
    const tiny_run run;
    const auto done = run_to_end(run.start(sets));
    CHECK(done.status == 1);
    return done.err;
  };
  CHECK(wrong(setting({"run.keep_best=reward"})).find("with checkpoint_every = 0, want checkpoints to choose from")
        != std::string::npos);
  CHECK(wrong(setting({"run.keep_best=evaluation/held_out/pass@1", "run.checkpoint_every=2"}))
            .find("with a role of kind \"evaluation\"")
        != std::string::npos);
  CHECK(wrong(setting({"run.stop_when=[{metric = \"reward\"}]"})).find("no key 'above'") != std::string::npos);
  CHECK(wrong(setting({"run.stop_when=[{metric = \"reward\", patience = 2, above = 1}]"}))
            .find("found where it has no effect")
        != std::string::npos);
}

} // namespace early_stop_test
