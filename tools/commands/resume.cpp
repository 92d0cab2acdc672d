#include "actors/process/run_host.hpp"
#include "actors/process/staged_run.hpp"
#include "runtime/telemetry/log.hpp"
#include "tools/command.hpp"

#include <memory>
#include <string>

namespace millrace::tools {

namespace {

struct resume_arguments {
  std::string folder;
  std::vector<std::string> overrides;
  bool accept_data = false;
};

int resume_run(const resume_arguments& given) {
  auto folder = run_files::run_folder::open(given.folder);
  const auto data = given.accept_data ? run_files::changed_data::accepted : run_files::changed_data::refused;
  const auto stages = pipeline::read_stages(folder.resolved(), given.overrides);
  if (pipeline::is_staged(stages)) {
    if (!given.overrides.empty())
      run_files::replace_file(folder.resolved(), pipeline::resolved_stages(stages), run_files::survives::power_cut);
    return actors::run_stages(stages, folder, data);
  }
  const auto& p = stages[0].what;
  auto start = actors::newest_start(p, folder, data);
  if (start.scheduler->complete() && actors::is_finished(folder.path())) {
    telemetry::process_log().say(p.run.name + ": finished before, " + std::to_string(start.scheduler->at().step)
                                 + " steps: nothing is left to do; more of them: millrace resume "
                                 + folder.path().string() + " --set run.steps=N");
    return 0;
  }
  if (!given.overrides.empty())
    folder.change_pipeline(pipeline::resolved_toml(p));
  return actors::run_pipeline(p, folder, std::move(start));
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
                         .one_at_a_time = true},
                        {.name = "--accept-data",
                         .to = &given->accept_data,
                         .help = "Goes on though a data file is another one than at the run's start"}},
          .run = [given] { return resume_run(*given); }};
}

} // namespace millrace::tools
