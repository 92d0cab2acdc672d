#include "runtime/pipeline/draw.hpp"
#include "tools/command.hpp"

#include <cstdio>
#include <memory>

namespace millrace::tools {

namespace {

struct graph_arguments {
  std::string file;
  std::string format = "dot";
  std::vector<std::string> overrides;
};

int run_graph(const graph_arguments& given) {
  const auto drawn = [&](const auto& what) {
    return given.format == "dot"   ? pipeline::draw_dot(what)
           : given.format == "svg" ? pipeline::draw_svg(what)
                                   : pipeline::draw_mermaid(what);
  };
  const auto stages = pipeline::read_stages(given.file, given.overrides);
  std::fputs((pipeline::is_staged(stages) ? drawn(stages) : drawn(stages[0].what)).c_str(), stdout);
  return 0;
}

} // namespace

command graph_command() {
  const auto given = std::make_shared<graph_arguments>();
  return {.name = "graph",
          .help = "Draws a pipeline's graph of roles",
          .arguments = {{.name = "FILE", .to = &given->file, .help = "The pipeline, TOML", .required = true},
                        {.name = "--format",
                         .to = &given->format,
                         .help = "dot, mermaid or svg",
                         .one_of = {"dot", "mermaid", "svg"}},
                        {.name = "--set",
                         .to = &given->overrides,
                         .help = "Overrides one key: a.b=value",
                         .one_at_a_time = true}},
          .run = [given] { return run_graph(*given); }};
}

} // namespace millrace::tools
