#include "runtime/pipeline/cluster.hpp"
#include "runtime/pipeline/draw.hpp"
#include "runtime/pipeline/stages.hpp"
#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/saved_state.hpp"
#include "runtime/schedule/scheduler.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/fuzz/readers.hpp"
#include "tests/support/temporary_folder.hpp"

namespace millrace::fuzz {
namespace {

using tests::read_file;
using tests::write_file;

void check(const std::string& text, const std::filesystem::path& folder, const std::vector<std::string>& overrides) {
  const auto stages = pipeline::parse_stages(text, "p.toml", folder, overrides);
  pipeline::describe(stages);
  pipeline::draw_dot(stages);
  pipeline::draw_svg(stages);
  pipeline::resolved_stages(stages);
}

/// A pipeline of the tree whose model is there.
std::string with_model(const std::string& file) {
  const std::string text = read_file("pipelines/" + file), path = "path = \"";
  const auto at = text.find(path) + path.size();
  return text.substr(0, at) + std::filesystem::absolute("tests/golden/models/tiny-chat").string()
         + text.substr(text.find('"', at));
}

std::string saved() {
  auto settings = schedule::preset("one_step_off");
  settings.groups_per_step = 2;
  settings.steps = 10;
  schedule::scheduler one(settings);
  one.on(schedule::worker_joined{0, 4, 0, "rollout/0"}, 1);
  for (std::uint64_t id : {0, 1, 2})
    one.on(schedule::group_finished{id, 1, {{0, 10}}}, 2);
  return one.save();
}

} // namespace

readers pipeline_readers(const std::filesystem::path& scratch) {
  std::vector<std::string> pipelines;
  for (const char* file : {"quickstart.toml", "arithmetic_ppo.toml", "arithmetic_held_out.toml", "arithmetic_kl.toml"})
    pipelines.push_back(with_model(file));
  std::vector<std::string> clusters;
  for (const auto& name : pipeline::cluster_names())
    clusters.emplace_back(pipeline::cluster_text(name));
  const auto cluster = scratch / "cluster.toml", staged = scratch / "pipelines";
  for (const char* named : {"models/smollm2-135m-instruct.gguf", "data/r1/cold_start.jsonl", "data/r1/reasoning.jsonl",
                            "data/r1/kept.jsonl", "data/r1/all_tasks.jsonl", "data/r1/held_out_calculations.jsonl",
                            "data/r1/held_out_problems.jsonl", "data/chat/sft.jsonl", "data/chat/preferences.jsonl",
                            "data/chat/prompts.jsonl", "data/chat/text.jsonl"}) {
    const auto path = scratch / "build" / named;
    std::filesystem::create_directories(path.parent_path());
    write_file(path, "x");
  }
  return {{.name = "pipeline", .whole = pipelines, .read = [scratch](const auto& bytes) { check(bytes, scratch, {}); }},
          {.name = "pipeline of stages",
           .whole = {read_file("pipelines/r1.toml"), read_file("pipelines/deepspeed_chat.toml")},
           .read = [staged](const auto& bytes) { check(bytes, staged, {}); }},
          {.name = "--set",
           .whole = {"roles.rollout.slots=12", "schedule.gate.depth=2", "run.name=\"a\"",
                     "placement.rollout={processes=2}"},
           .read = [scratch, text = pipelines.front()](const auto& bytes) { check(text, scratch, {bytes}); }},
          {.name = "cluster",
           .whole = clusters,
           .read =
               [cluster](const std::string& bytes) {
                 write_file(cluster, bytes);
                 pipeline::read_cluster(cluster.string());
               }},
          {.name = "state of a schedule", .whole = {saved()}, .read = [](const std::string& bytes) {
             schedule::write(schedule::read_saved_state(bytes));
           }}};
}

} // namespace millrace::fuzz
