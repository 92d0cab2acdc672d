#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <map>

namespace adapters_test {

using namespace millrace::tests;

namespace {

const strings over_tcp{"--set", "placement.transport=tcp"};

/// The weights of a run's checkpoint, and the file of its adapter.
constexpr const char *merged_file = "model/model.safetensors", *adapter_file = "adapter/adapter_model.safetensors";

/// A run of a wide model whose adapters are trained. In one process versions are taken whole; where its roles are apart
/// and read everything over TCP, adapters travel.
struct lora_run {
  temporary_folder folder;
  tiny_run run;
  strings sets;

  explicit lora_run(const strings& more = {}, tiny_pipeline pipeline = {})
      : run([&] {
          pipeline.model = folder / "wide";
          return pipeline;
        }()),
        sets(with({"--set", "roles.learner.lora={rank = 2}", "--set", "roles.learner.optimizer.lr=1e-2"}, more)) {
    write_wide_model(folder / "wide");
  }

  strings apart() const { return run.start(with(sets, with(placed_apart(false), over_tcp))); }

  void goes_well(const strings& command) const {
    const auto done = run_to_end(command, 120);
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    CHECK(done.err.find("is pulled") == std::string::npos); // all of it, for want of something
  }

  std::string saved(int step, const char* file = merged_file) const {
    const auto number = std::to_string(step);
    return read_file(run.files().folder() / "checkpoints" / ("step-" + std::string(6 - number.size(), '0') + number)
                     / file);
  }

  std::uint64_t whole_bytes() const { return std::filesystem::file_size(folder / "wide/model.safetensors"); }
};

const strings in_half{"--set", "models.tiny.dtype=bfloat16"};

} // namespace

TEST_CASE(
    "adapters: they alone travel, and answers, losses and saved weights are those of whole versions bit for bit") {
  for (const auto& how : {strings{}, in_half}) {
    CAPTURE(how.size());
    const lora_run whole(how), adapters(how);
    whole.goes_well(whole.run.start(whole.sets));
    adapters.goes_well(adapters.apart());
    CHECK(adapters.run.files().learning_curve() == whole.run.files().learning_curve());
    REQUIRE(whole.saved(6).size() > 1'000'000);
    CHECK(adapters.saved(6) == whole.saved(6));
    CHECK(adapters.saved(6, adapter_file) == whole.saved(6, adapter_file));
    const auto a_version = adapters.whole_bytes() / (how.empty() ? 1 : 2);
    for (const auto& row : adapters.run.files().metrics()) {
      CHECK(row.at("weights/published_share").get<double>() > 0);
      CHECK(row.at("weights/published_share").get<double>() < 0.1);
    }
    CHECK(adapters.run.files().bytes_pulled("rollout") > 0);
    CHECK(adapters.run.files().bytes_pulled("rollout")
          < a_version); // two rollouts and seven versions: not one of them came whole
  }
}

TEST_CASE("adapters: an evaluation takes them too, and its figures are those of whole versions") {
  const strings more =
      with(in_half, {"--set", "roles.learner.publishes_to=[\"rollout\", \"held_out\"]", "--set",
                     "roles.held_out.kind=evaluation", "--set", "roles.held_out.model=tiny", "--set",
                     "roles.held_out.generator={type = \"arithmetic\"}", "--set", "roles.held_out.rows=8", "--set",
                     "roles.held_out.max_new_tokens=16", "--set", "roles.held_out.every=3", "--set",
                     "roles.held_out.rules=[{type = \"length\", max = 15}]"});
  const lora_run whole(more), adapters(more);
  whole.goes_well(whole.run.start(whole.sets));
  adapters.goes_well(with(adapters.apart(), {"--set", "placement.held_out.processes=1"}));
  CHECK(adapters.saved(6) == whole.saved(6));
  const auto evaluations_of = [](const lora_run& one) {
    std::map<std::int64_t, std::string> by_version;
    for (const auto& row : one.run.files().metrics())
      if (row.contains("evaluation/held_out/length/mean"))
        by_version[row.at("step")] =
            row.at("evaluation/held_out/length/mean").dump() + row.at("evaluation/held_out/pass@1").dump();
    return by_version;
  };
  const auto found = evaluations_of(adapters), want = evaluations_of(whole);
  CHECK(found.contains(6)); // an earlier one is left out where the next one is there
  CHECK(want.contains(6));
  for (const auto& [version, figures] : found) {
    CAPTURE(version);
    CHECK((!want.contains(version) || want.at(version) == figures));
  }
  CHECK(adapters.run.files().bytes_pulled("held_out") > 0);
  CHECK(adapters.run.files().bytes_pulled("held_out") < adapters.whole_bytes() / 2);
}

TEST_CASE("adapters: a reference that follows takes them, and a replay, which has whole versions, repeats its scores") {
  const lora_run adapters(with(in_half, {"--set", "roles.frozen.refresh_every=1"}), {.reference = true});
  adapters.goes_well(with(adapters.apart(), {"--set", "placement.frozen.processes=1"}));
  CHECK(adapters.run.files().bytes_pulled("frozen") > 0);
  CHECK(adapters.run.files().bytes_pulled("frozen") < adapters.whole_bytes() / 2);
  const auto again = run_to_end(command_line({"replay", adapters.run.files().folder().string()}), 120);
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

TEST_CASE("adapters: a rollout that is killed starts again without a whole version, and no step is another for it") {
  const lora_run whole({}, {.steps = 10}), adapters({}, {.steps = 10});
  whole.goes_well(whole.run.start(whole.sets));
  running_command running(adapters.apart());
  const auto files = adapters.run.files();
  check_goes_on_without(running, files, "rollout/0", 10);
  CHECK(files.learning_curve() == whole.run.files().learning_curve());
  CHECK(adapters.saved(10) == whole.saved(10));
  CHECK(adapters.run.files().bytes_pulled("rollout") < adapters.whole_bytes());
}

TEST_CASE("adapters: a run that goes on from a checkpoint publishes them on the same base") {
  const lora_run whole(in_half), adapters(in_half);
  whole.goes_well(whole.run.start(whole.sets));
  adapters.goes_well(with(adapters.apart(), {"--set", "run.steps=3"}));
  adapters.goes_well(adapters.run.resume({"--set", "run.steps=6"}));
  CHECK(adapters.run.files().learning_curve() == whole.run.files().learning_curve());
  CHECK(adapters.saved(6) == whole.saved(6));
  CHECK(adapters.run.files().bytes_pulled("rollout") < adapters.whole_bytes() / 2);
}

TEST_CASE("adapters: a run that goes on has the adapter of its checkpoint, and another rank or alpha is refused") {
  const lora_run first({}, {.steps = 2});
  first.goes_well(first.run.start(first.sets));
  for (const auto& [key, line] : {std::pair("rank=3", "roles.learner.lora.rank: found 3, want 2"),
                                  {"alpha=8.5", "roles.learner.lora.alpha: found 8.5, want 16"},
                                  {"targets=q_proj$", "roles.learner.lora.targets: found q_proj$, want _proj$"}}) {
    const auto end =
        run_to_end(first.run.resume({"--set", "run.steps=3", "--set", std::string("roles.learner.lora.") + key}), 60);
    CAPTURE(end.err);
    CHECK(end.status == 1);
    CHECK(end.err.find(line) != std::string::npos);
  }
  first.goes_well(first.run.resume({"--set", "run.steps=3"}));
}

TEST_CASE("adapters: the first of several ranks publishes them, from an adapter that training began with") {
  const lora_run first({}, {.steps = 2});
  first.goes_well(first.run.start(first.sets));
  const auto begun = (first.run.files().folder() / "checkpoints/step-000002/adapter").string();
  // One thread a rank: without AVX-512 a product's last bits depend on their number.
  const strings more{"--set", "roles.learner.lora={start = \"" + begun + "\"}", "--set", "roles.learner.threads=1"};
  const lora_run whole(more), adapters(more);
  whole.goes_well(whole.run.start(whole.sets));
  adapters.goes_well(with(adapters.apart(), {"--set", "placement.learner={processes = 2, shard = \"optimizer\"}"}));
  CHECK(adapters.run.files().learning_curve() == whole.run.files().learning_curve());
  CHECK(adapters.saved(6) == whole.saved(6));
  CHECK(adapters.run.files().bytes_pulled("rollout") < adapters.whole_bytes());
}

TEST_CASE("adapters: a replay, which samples from whole versions, repeats asynchronous runs and steps in parts") {
  for (const char* preset : {"one_step_off", "areal", "streaming"}) {
    CAPTURE(preset);
    const lora_run adapters(in_half, {.steps = 8, .preset = preset});
    adapters.goes_well(adapters.apart());
    const auto again = run_to_end(command_line({"replay", adapters.run.files().folder().string()}), 120);
    CAPTURE(again.err);
    CHECK(again.status == 0);
    CHECK(adapters.run.files().bytes_pulled("rollout") < adapters.whole_bytes() / 2);
  }
}

} // namespace adapters_test
