#include "runtime/input_error.hpp"
#include "runtime/pipeline/stages.hpp"
#include "tools/command.hpp"

#include <cstdio>
#include <memory>

namespace millrace::tools {

command add_check(CLI::App& root) {
  struct options {
    std::string file;
    std::vector<std::string> overrides;
    bool keys = false;
    bool resolved = false;
  };
  auto o = std::make_shared<options>();
  auto* app = root.add_subcommand("check", "Checks a pipeline and says what it would run");
  app->add_option("FILE", o->file, "The pipeline, TOML");
  app->add_option("--set", o->overrides, "Overrides one key: a.b=value")->allow_extra_args(false);
  app->add_flag("--resolved", o->resolved, "Prints the pipeline with every key spelled out and where its value comes from");
  app->add_flag("--keys", o->keys, "Prints every key that a pipeline may have: default, range, meaning; needs no FILE");
  return [o] {
    if (o->keys) {
      std::fputs(pipeline::key_reference().c_str(), stdout);
      return 0;
    }
    if (o->file.empty())
      throw input_error("check: no FILE, want a pipeline in TOML (or --keys)");
    const auto stages = pipeline::read_stages(o->file, o->overrides);
    std::fputs(pipeline::describe(stages).c_str(), stderr);
    if (o->resolved)
      std::fputs((pipeline::is_staged(stages) ? pipeline::resolved_stages(stages) : pipeline::resolved_toml(stages[0].what)).c_str(), stdout);
    return 0;
  };
}

} // namespace millrace::tools
