#include "runtime/pipeline/figures.hpp"
#include "runtime/pipeline/stages.hpp"
#include "tools/command.hpp"
#include "tools/commands/pipeline_arguments.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>

namespace millrace::tools {
namespace {

struct metrics_arguments {
  pipeline_arguments pipeline;
  bool json = false;
};

int list_figures(const metrics_arguments& given) {
  for (const auto& [stage, what] : pipeline::read_stages(given.pipeline.files, given.pipeline.overrides)) {
    if (!stage.empty() && !given.json)
      std::printf("stage %s\n", stage.c_str());
    for (const auto& [name, meaning] : pipeline::figures_of(what)) {
      if (!given.json) {
        std::printf("%-40s %s\n", name.c_str(), meaning.c_str());
        continue;
      }
      nlohmann::ordered_json line{{"name", name}, {"meaning", meaning}};
      if (!stage.empty())
        line["stage"] = stage;
      std::printf("%s\n", line.dump().c_str());
    }
  }
  return 0;
}

} // namespace

command metrics_command() {
  const auto given = std::make_shared<metrics_arguments>();
  return {.name = "metrics",
          .help = "Lists the figures that a pipeline makes, with a sentence each",
          .footer = "These are the names that run.keep_best and run.stop_when take, in metrics.jsonl and TensorBoard.",
          .arguments = {given->pipeline.file(),
                        given->pipeline.set(),
                        {.name = "--json", .to = &given->json, .help = "One JSON object a line instead of words"}},
          .run = [given] { return list_figures(*given); }};
}

} // namespace millrace::tools
