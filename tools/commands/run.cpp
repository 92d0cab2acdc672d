#include "actors/run_host.hpp"
#include "actors/staged_run.hpp"
#include "tools/command.hpp"

#include <fstream>
#include <memory>

namespace millrace::tools {

command add_run(CLI::App& root) {
  struct options {
    std::string file;
    std::vector<std::string> overrides;
    std::string output;
  };
  auto o = std::make_shared<options>();
  auto* app = root.add_subcommand("run", "Runs a pipeline to its end");
  app->footer("Roles run in this process unless [placement] puts them into others, e.g.\n"
              "    millrace run pipelines/arithmetic.toml --set placement.rollout.processes=2\n"
              "The [[stage]]s of a file run one after another, each in a folder of its own in the run's.\n"
              "Ctrl-C stops with a checkpoint; `millrace resume DIR` goes on from it.\n"
              "Exit status: 0 finished or stopped, 1 failed (one line says why), 2 wrong command line.");
  app->add_option("FILE", o->file, "The pipeline, TOML")->required();
  app->add_option("--set", o->overrides, "Overrides one key: a.b=value (TOML; a bare word is a string)")
      ->allow_extra_args(false);
  app->add_option("--output", o->output, "Folder for the run's files; default runs/NAME-DATE-N");
  return [o] {
    const auto stages = pipeline::read_stages(o->file, o->overrides);
    auto folder = telemetry::run_folder::create(
        o->output.empty() ? telemetry::default_run_path("runs", pipeline::name_of_run(stages), telemetry::today())
                          : std::filesystem::path(o->output));
    if (pipeline::is_staged(stages)) {
      telemetry::replace_file(folder.resolved(), pipeline::resolved_stages(stages));
      return actors::run_stages(stages, folder);
    }
    const auto& p = stages[0].what;
    telemetry::replace_file(folder.resolved(), pipeline::resolved_toml(p));
    const auto path = folder.path();
    try {
      return actors::run_pipeline(p, std::move(folder), {});
    } catch (const std::exception&) {
      telemetry::forget_unstarted_run(path);
      throw;
    }
  };
}

} // namespace millrace::tools
