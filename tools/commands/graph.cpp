#include "runtime/pipeline/draw.hpp"
#include "tools/command.hpp"

#include <cstdio>
#include <memory>

namespace millrace::tools {

command add_graph(CLI::App& root) {
  struct options {
    std::string file;
    std::string format = "dot";
    std::vector<std::string> overrides;
  };
  auto o = std::make_shared<options>();
  auto* app = root.add_subcommand("graph", "Draws a pipeline's graph of roles");
  app->add_option("FILE", o->file, "The pipeline, TOML")->required();
  app->add_option("--format", o->format, "dot, mermaid or svg")->check(CLI::IsMember({"dot", "mermaid", "svg"}));
  app->add_option("--set", o->overrides, "Overrides one key: a.b=value")->allow_extra_args(false);
  return [o] {
    const auto drawn = [&](const auto& what) {
      return o->format == "dot" ? pipeline::draw_dot(what) : o->format == "svg" ? pipeline::draw_svg(what) : pipeline::draw_mermaid(what);
    };
    const auto stages = pipeline::read_stages(o->file, o->overrides);
    std::fputs((pipeline::is_staged(stages) ? drawn(stages) : drawn(stages[0].what)).c_str(), stdout);
    return 0;
  };
}

} // namespace millrace::tools
