#include "actors/run_host.hpp"
#include "actors/staged_run.hpp"
#include "runtime/input_error.hpp"
#include "runtime/telemetry/checkpoint_store.hpp"
#include "runtime/telemetry/log.hpp"
#include "tools/command.hpp"

#include <memory>

namespace millrace::tools {

command add_resume(CLI::App& root) {
  struct options {
    std::string folder;
    std::vector<std::string> overrides;
  };
  auto o = std::make_shared<options>();
  auto* app = root.add_subcommand("resume", "Goes on with a run from its last checkpoint");
  app->footer("What was trained after the last checkpoint is trained again from it: nothing twice, nothing skipped.\n"
              "More steps: millrace resume DIR --set run.steps=200\n"
              "Of a file with [[stage]]s the finished ones stay as they are: it goes on with the first that is not.");
  app->add_option("DIR", o->folder, "The run's folder")->required();
  app->add_option("--set", o->overrides, "Overrides one key of the run's resolved.toml")->allow_extra_args(false);
  return [o] {
    auto folder = telemetry::run_folder::open(o->folder);
    const auto stages = pipeline::read_stages(folder.resolved(), o->overrides);
    if (pipeline::is_staged(stages)) {
      if (!o->overrides.empty())
        telemetry::replace_file(folder.resolved(), pipeline::resolved_stages(stages));
      return actors::run_stages(stages, folder);
    }
    const auto& p = stages[0].what;
    const auto checkpoint = telemetry::latest_checkpoint(
        folder.checkpoints(), [](const std::string& line) { telemetry::log_warning("run", line); });
    if (!checkpoint)
      telemetry::log_warning("run", "there is no checkpoint yet: the run begins again");
    else
      telemetry::log_info("run", "going on from step " + std::to_string(checkpoint->step));
    if (!o->overrides.empty())
      folder.change_pipeline(pipeline::resolved_toml(p));
    return actors::run_pipeline(p, std::move(folder), checkpoint ? checkpoint->folder : std::filesystem::path());
  };
}

} // namespace millrace::tools
