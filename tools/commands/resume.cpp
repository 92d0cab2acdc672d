#include "actors/process/run_host.hpp"
#include "actors/process/staged_run.hpp"
#include "runtime/run_files/checkpoint_store.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"

#include <memory>

namespace millrace::tools {

namespace {

struct resume_arguments {
  std::string folder;
  std::vector<std::string> overrides;
};

int resume_run(const resume_arguments& given) {
  auto folder = run_files::run_folder::open(given.folder);
  const auto stages = pipeline::read_stages(folder.resolved(), given.overrides);
  if (pipeline::is_staged(stages)) {
    if (!given.overrides.empty())
      run_files::replace_file(folder.resolved(), pipeline::resolved_stages(stages));
    return actors::run_stages(stages, folder);
  }
  const auto& p = stages[0].what;
  const auto checkpoint = run_files::latest_checkpoint(
      folder.checkpoints(), [](const std::string& line) { telemetry::log_warning("run", line); });
  if (!checkpoint)
    telemetry::log_warning("run", "there is no checkpoint yet: the run begins again");
  else
    telemetry::log_info("run", "going on from step " + std::to_string(checkpoint->step));
  if (!given.overrides.empty())
    folder.change_pipeline(pipeline::resolved_toml(p));
  return actors::run_pipeline(p, std::move(folder), checkpoint ? checkpoint->folder : std::filesystem::path());
}

} // namespace

command resume_command() {
  const auto given = std::make_shared<resume_arguments>();
  return {.name = "resume",
          .help = "Goes on with a run from its last checkpoint",
          .footer =
              R"(What was trained after the last checkpoint is trained again from it: nothing twice, nothing skipped.
More steps: millrace resume DIR --set run.steps=200
Of a file with [[stage]]s the finished ones stay as they are: it goes on with the first that is not.)",
          .arguments = {{.name = "DIR", .to = &given->folder, .help = "The run's folder", .required = true},
                        {.name = "--set",
                         .to = &given->overrides,
                         .help = "Overrides one key of the run's resolved.toml",
                         .one_at_a_time = true}},
          .run = [given] { return resume_run(*given); }};
}

} // namespace millrace::tools
