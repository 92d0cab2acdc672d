#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

namespace precision_test {

// Weights, keys and values in bfloat16 through the whole program.

using namespace millrace::tests;

namespace {

const strings in_half{"--set", "models.tiny.dtype=bfloat16", "--set", "roles.rollout.cache_dtype=bfloat16"};

strings curve_of(const tiny_run& run, const strings& sets) {
  const auto done = run_to_end(run.start(sets), 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  return run.files().learning_curve();
}

void check_replay(const tiny_run& run) {
  const auto again = run_to_end(command_line({"replay", run.files().folder().string()}), 60);
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

double mean_reward(const tiny_run& run, std::size_t first, std::size_t last) {
  double sum = 0;
  const auto rows = run.files().metrics();
  for (std::size_t i = first; i < last; ++i)
    sum += rows.at(i).at("reward").get<double>();
  return sum / static_cast<double>(last - first);
}

} // namespace

TEST_CASE("a bfloat16 rollout and reference: the model learns, a replay and several processes repeat every bit") {
  const tiny_run longer({.steps = 80});
  curve_of(longer, in_half);
  CHECK(mean_reward(longer, 60, 80) > mean_reward(longer, 0, 5) + 0.03); // of 0.08 to the largest reward, 1.5

  const tiny_pipeline pipeline{.steps = 6, .reference = true};
  const tiny_run alone(pipeline), apart(pipeline), exact(pipeline);
  const auto curve = curve_of(alone, in_half);
  CHECK(curve_of(apart, with(placed_apart(true), in_half)) == curve);
  CHECK(curve_of(exact, {}) != curve);
  check_replay(alone);
  const auto gap = [](const tiny_run& run) {
    return run.files().metrics().front().at("rollout/logprob_max_difference").get<double>();
  };
  CHECK(gap(exact) < 1e-4);
  // The learner computes with the same rounded weights, unless it is told not to.
  const strings wide_cache = with(in_half, {"--set", "roles.rollout.cache_dtype=float32"});
  const tiny_run like(pipeline), unlike(pipeline);
  curve_of(like, wide_cache);
  curve_of(unlike, with(wide_cache, {"--set", "roles.learner.match_rollouts=false"}));
  CHECK(gap(like) < 1e-4);
  CHECK(gap(unlike) > 1e-4);
}

TEST_CASE("a bfloat16 rollout and learner: the model learns, a replay and several processes repeat every bit") {
  const strings both = with(in_half, {"--set", "roles.learner.compute_dtype=bfloat16"});
  const tiny_run longer({.steps = 80});
  curve_of(longer, both);
  CHECK(mean_reward(longer, 60, 80) > mean_reward(longer, 0, 5) + 0.03); // of 0.08 to the largest reward, 1.5

  const tiny_pipeline pipeline{.steps = 6, .critic = true};
  auto sets = with(both, {"--set", "roles.critic.compute_dtype=bfloat16", "--set", "roles.critic.threads=1"});
  sets = with(sets, {"--set", "roles.learner.threads=1", "--set", "roles.learner.micro_batch_tokens=64"});
  const tiny_run alone(pipeline), apart(pipeline), halves(pipeline), wide(pipeline);
  const auto curve = curve_of(alone, sets);
  CHECK(curve_of(wide, in_half) != curve);
  const auto placed = with(placed_apart(false), sets);
  CHECK(
      curve_of(apart, with(placed, {"--set", "placement.learner.processes=2", "--set", "placement.learner.shard=full"}))
      == curve);
  check_replay(alone);
  REQUIRE(run_to_end(halves.start(with(sets, {"--set", "run.steps=2"})), 60).status == 0);
  REQUIRE(run_to_end(halves.resume({"--set", "run.steps=6"}), 60).status == 0);
  CHECK(halves.files().learning_curve() == curve);
  // A run goes on in another arithmetic: what it has saved is fp32 either way.
  const tiny_run other(pipeline);
  REQUIRE(run_to_end(other.start(with(sets, {"--set", "run.steps=2"})), 60).status == 0);
  const auto rest =
      run_to_end(other.resume({"--set", "run.steps=4", "--set", "roles.learner.compute_dtype=float32"}), 60);
  CAPTURE(rest.err);
  CHECK(rest.status == 0);
  for (const auto& step : alone.files().metrics()) {
    const auto gap = step.at("rollout/logprob_mean_difference").get<double>();
    CHECK(gap > 1e-5);
    CHECK(gap < 0.05);
  }
}

TEST_CASE("an int8 rollout: the model learns, a replay and several processes repeat every bit, weights travel wide") {
  const strings in_bytes{"--set", "models.tiny.rollout_dtype=int8"};
  const tiny_run longer({.steps = 80});
  curve_of(longer, in_bytes);
  CHECK(mean_reward(longer, 60, 80) > mean_reward(longer, 0, 5) + 0.03); // of 0.09 to the largest reward, 1.5

  const tiny_pipeline pipeline{.steps = 6, .reference = true};
  const tiny_run alone(pipeline), apart(pipeline), exact(pipeline), both(pipeline), halves(pipeline);
  const auto curve = curve_of(alone, in_bytes);
  CHECK(curve_of(apart, with(placed_apart(true), in_bytes)) == curve);
  CHECK(curve_of(exact, {}) != curve);
  check_replay(alone);
  REQUIRE(run_to_end(halves.start(with(in_bytes, {"--set", "run.steps=2"})), 60).status == 0);
  REQUIRE(run_to_end(halves.resume({"--set", "run.steps=6"}), 60).status == 0);
  CHECK(halves.files().learning_curve() == curve);
  curve_of(both, with(in_half, in_bytes));
  check_replay(both);
  const auto gap = [](const tiny_run& run) {
    return run.files().metrics().front().at("rollout/logprob_max_difference").get<double>();
  };
  CHECK(gap(exact) < 1e-4);
  CHECK(gap(alone) > 1e-4);
}

TEST_CASE(
    "keys and values in int8: the model learns, a replay, a resume, a bound and several processes repeat every bit") {
  const strings in_bytes{"--set", "roles.rollout.cache_dtype=int8"};
  const tiny_run longer({.steps = 80});
  curve_of(longer, in_bytes);
  CHECK(mean_reward(longer, 60, 80) > mean_reward(longer, 0, 5) + 0.03); // of 0.09 to the largest reward, 1.5

  const tiny_pipeline pipeline{.steps = 6};
  const tiny_run alone(pipeline), apart(pipeline), halves(pipeline), bounded(pipeline), all(pipeline);
  const auto curve = curve_of(alone, in_bytes);
  const auto gap = alone.files().metrics().front().at("rollout/logprob_max_difference").get<double>();
  CHECK(gap > 1e-4);
  CHECK(gap < 0.5);
  CHECK(curve_of(apart, with(placed_apart(false), in_bytes)) == curve);
  CHECK(curve_of(bounded, with(in_bytes, {"--set", "roles.rollout.cache_bytes=52 KiB"})) == curve);
  check_replay(alone);
  REQUIRE(run_to_end(halves.start(with(in_bytes, {"--set", "run.steps=2"})), 60).status == 0);
  REQUIRE(run_to_end(halves.resume({"--set", "run.steps=6"}), 60).status == 0);
  CHECK(halves.files().learning_curve() == curve);
  curve_of(all, with(in_bytes, {"--set", "models.tiny.rollout_dtype=int8"}));
  check_replay(all);
}

TEST_CASE("bfloat16 goes with adapters, averages, references that follow, critics and checkpoints") {
  const tiny_pipeline pipeline{.steps = 4, .reference = true, .critic = true};
  for (const strings& how :
       {strings{"--set", "roles.learner.lora.rank=4"},
        strings{"--set", "roles.learner.lora.rank=4", "--set", "roles.learner.compute_dtype=bfloat16"},
        strings{"--set", "roles.learner.ema_decay=0.9", "--set", "roles.frozen.refresh_every=2"},
        strings{"--set", "roles.frozen.ema=0.9"}}) {
    CAPTURE(how[1]);
    const tiny_run whole(pipeline), halves(pipeline);
    const auto sets = with(in_half, how);
    const auto curve = curve_of(whole, sets);
    check_replay(whole);
    const auto first = run_to_end(halves.start(with(sets, {"--set", "run.steps=2"})), 60);
    REQUIRE(first.status == 0);
    const auto rest = run_to_end(halves.resume({"--set", "run.steps=4"}), 60);
    CAPTURE(rest.err);
    REQUIRE(rest.status == 0);
    CHECK(halves.files().learning_curve() == curve);
  }
}

TEST_CASE("bfloat16 where it means nothing and words that are none are refused at their place") {
  const tiny_run run;
  const auto refused = [&](const strings& sets, const std::string& want) {
    const auto done = run_to_end(run.check(sets));
    CAPTURE(done.err);
    CHECK(done.status == 1);
    CHECK(done.err.find(want) != std::string::npos);
  };
  refused({"--set", "models.tiny.dtype=half"},
          "--set models.tiny.dtype=half: models.tiny.dtype: found \"half\", want one of \"float32\", \"bfloat16\"");
  refused({"--set", "roles.rollout.cache_dtype=fp8"},
          "roles.rollout.cache_dtype: found \"fp8\", want one of \"float32\", \"bfloat16\", \"int8\"");
  refused({"--set", "roles.rollout.cache_dtype=int8", "--set", "run.device=cuda"},
          "roles.rollout.cache_dtype: found \"int8\", want \"float32\" with run.device = \"cuda\"");
  refused({"--set", "roles.learner.compute_dtype=half"},
          "roles.learner.compute_dtype: found \"half\", want one of \"float32\", \"bfloat16\"");
  refused({"--set", "models.tiny.rollout_dtype=int4"},
          "models.tiny.rollout_dtype: found \"int4\", want one of \"float32\", \"bfloat16\", \"int8\"");
  refused(with(in_half, {"--set", "models.tiny.rollout_dtype=float32"}),
          "models.tiny.rollout_dtype: found \"float32\", want \"bfloat16\" or \"int8\": dtype has rounded");
  refused({"--set", "models.other.path=" + tiny_model().string(), "--set", "models.other.rollout_dtype=int8"},
          "models.other.rollout_dtype: found \"int8\", want no such key");
  refused({"--set", "models.tiny.rollout_dtype=int8", "--set", "run.device=cuda"},
          "models.tiny.rollout_dtype: found \"int8\", want \"float32\" with run.device = \"cuda\"");
  refused({"--set", "models.other.path=" + tiny_model().string(), "--set", "models.other.dtype=bfloat16"},
          "models.other.dtype: found \"bfloat16\", want \"float32\" of a model that no role generates or scores with");
  refused(with(in_half, {"--set", "run.device=cuda"}), "models.tiny.dtype: found \"bfloat16\", want \"float32\" with "
                                                       "run.device = \"cuda\"");
  refused(with(in_half, {"--set", "run.device=cuda"}), "roles.rollout.cache_dtype: found \"bfloat16\"");
  refused(with(in_half, {"--set", "roles.rollout.device=cuda:1"}),
          "models.tiny.dtype: found \"bfloat16\", want \"float32\" with roles.rollout.device = \"cuda:1\"");
  const auto apart =
      run_to_end(run.check(with(in_half, {"--set", "run.device=cuda", "--set", "roles.rollout.device=cpu"})));
  CAPTURE(apart.err);
  CHECK(apart.status == 0); // the rollout computes elsewhere than the others
}

TEST_CASE("a dry run plans half the bytes where bfloat16 is kept, and all of them where a model is trained") {
  const tiny_run run;
  const auto plan_of = [&](const strings& sets) {
    auto command = run.start(sets);
    command.push_back("--dry-run");
    const auto done = run_to_end(command);
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    return done.err;
  };
  const auto line_of = [](const std::string& plan, const std::string& role) {
    const auto at = plan.find(role);
    REQUIRE(at != std::string::npos);
    return plan.substr(at, plan.find('\n', at) - at);
  };
  const auto whole = plan_of({}), half = plan_of(in_half);
  CAPTURE(whole);
  CAPTURE(half);
  CHECK(line_of(whole, "rollout") != line_of(half, "rollout"));
  CHECK(line_of(whole, "learner") == line_of(half, "learner"));
}

TEST_CASE("commands keep matrices as --dtype says: narrower ones are near, and each is what it was before") {
  const temporary_folder folder;
  write_file(folder / "rows.jsonl", "{\"prompt\": \"2 + 3 =\", \"completion\": \" 5 and more of it\"}\n");
  const auto scores = [&](const strings& more) {
    strings words{"score", "tests/golden/models/tiny-chat", "--file", (folder / "rows.jsonl").string()};
    words.insert(words.end(), more.begin(), more.end());
    const auto done = run_to_end(command_line(words));
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    return nlohmann::json::parse(done.out).at("logprobs").get<std::vector<double>>();
  };
  const auto whole = scores({});
  CHECK(scores({"--dtype", "float32"}) == whole);
  const auto gap = [&](const std::string& dtype) {
    const auto narrow = scores({"--dtype", dtype});
    CHECK(scores({"--dtype", dtype, "--threads", "1"}) == narrow);
    REQUIRE(narrow.size() == whole.size());
    double largest = 0;
    for (std::size_t i = 0; i < whole.size(); ++i)
      largest = std::max(largest, std::abs(narrow[i] - whole[i]));
    return largest;
  };
  for (const auto* dtype : {"bfloat16", "int8"}) {
    CAPTURE(dtype);
    CHECK(gap(dtype) > 0);
    CHECK(gap(dtype) < 0.1);
    const auto answer = run_to_end(command_line({"generate", "tests/golden/models/tiny-chat", "--prompt", "say it",
                                                 "--max-new-tokens", "8", "--dtype", dtype}));
    CHECK(answer.status == 0);
  }
  const auto wrong = run_to_end(command_line({"generate", tiny_model().string(), "--prompt", "a", "--dtype", "fp8"}));
  CHECK(wrong.err.find("--dtype: fp8 not in {float32,bfloat16,int8}") != std::string::npos);
}

} // namespace precision_test
