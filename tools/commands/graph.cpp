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
    const auto p = pipeline::read_pipeline(o->file, o->overrides);
    const auto text = o->format == "dot" ? pipeline::draw_dot(p)
                      : o->format == "svg" ? pipeline::draw_svg(p)
                                           : pipeline::draw_mermaid(p);
    std::fputs(text.c_str(), stdout);
    return 0;
  };
}

} // namespace millrace::tools
