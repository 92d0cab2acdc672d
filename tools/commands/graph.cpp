#include "runtime/pipeline/draw.hpp"
#include "tools/command.hpp"
#include "tools/commands/pipeline_arguments.hpp"

#include <cstdio>
#include <memory>

namespace millrace::tools {

namespace {

struct graph_arguments {
  pipeline_arguments pipeline;
  std::string format = "dot";
};

int run_graph(const graph_arguments& given) {
  const auto drawn = [&](const auto& what) {
    return given.format == "dot"   ? pipeline::draw_dot(what)
           : given.format == "svg" ? pipeline::draw_svg(what)
                                   : pipeline::draw_mermaid(what);
  };
  const auto stages = pipeline::read_stages(given.pipeline.files, given.pipeline.overrides);
  std::fputs((pipeline::is_staged(stages) ? drawn(stages) : drawn(stages[0].what)).c_str(), stdout);
  return 0;
}

} // namespace

command graph_command() {
  const auto given = std::make_shared<graph_arguments>();
  return {.name = "graph",
          .help = "Draws a pipeline's graph of roles",
          .arguments = {given->pipeline.file(),
                        {.name = "--format",
                         .to = &given->format,
                         .help = "dot, mermaid or svg",
                         .one_of = {"dot", "mermaid", "svg"}},
                        given->pipeline.set()},
          .run = [given] { return run_graph(*given); }};
}

} // namespace millrace::tools
