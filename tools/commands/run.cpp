#include "actors/process/run_host.hpp"
#include "actors/process/staged_run.hpp"
#include "tools/command.hpp"
#include "tools/commands/shown_samples.hpp"
#include "tools/commands/watched_run.hpp"

#include <memory>

namespace millrace::tools {

namespace {

struct run_arguments {
  std::string file;
  std::vector<std::string> overrides;
  std::string output;
  std::int64_t samples = 0;
  std::string listen;
};

int start_run(const run_arguments& given) {
  const auto stages = pipeline::read_stages(given.file, with_listen(given.overrides, given.listen));
  const auto listening = listening_for(stages);
  auto folder = run_files::run_folder::create(
      given.output.empty() ? run_files::default_run_path("runs", pipeline::name_of_run(stages), run_files::today())
                           : std::filesystem::path(given.output));
  if (listening)
    watch_run(*listening, folder.path(), stages);
  const shown_samples samples(folder.path(), static_cast<std::size_t>(given.samples));
  if (pipeline::is_staged(stages)) {
    run_files::replace_file(folder.resolved(), pipeline::resolved_stages(stages), run_files::survives::power_cut);
    return actors::run_stages(stages, folder, {});
  }
  const auto& p = stages[0].what;
  return actors::run_new(p, std::move(folder));
}

} // namespace

command run_command() {
  const auto given = std::make_shared<run_arguments>();
  return {
      .name = "run",
      .help = "Runs a pipeline to its end",
      .footer = R"(Roles run in this process unless [placement] puts them into others, e.g.
    millrace run pipelines/arithmetic.toml --set placement.rollout.processes=2
The [[stage]]s of a file run one after another, each in a folder of its own in the run's.
Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 stop with a checkpoint; `millrace resume DIR` goes on from it.
Exit status: 0 finished, 1 failed (one line says why), 2 wrong command line, 3 stopped before its end.)",
      .arguments = {{.name = "FILE", .to = &given->file, .help = "The pipeline, TOML", .required = true},
                    {.name = "--set",
                     .to = &given->overrides,
                     .help = "Overrides one key: a.b=value (TOML; a bare word is a string)",
                     .one_at_a_time = true},
                    {.name = "--output",
                     .to = &given->output,
                     .help = "Folder for the run's files; default runs/NAME-DATE-N"},
                    {.name = "--listen",
                     .to = &given->listen,
                     .help = "ADDRESS:PORT at which a browser or Prometheus watches the run, as run.listen"},
                    {.name = "--samples",
                     .to = &given->samples,
                     .help = "Prints so many answers of each step, with prompt and reward, on stdout; of the groups "
                             "that run.trajectories_fraction keeps",
                     .numbers = sign::not_negative}},
      .run = [given] { return start_run(*given); }};
}

} // namespace millrace::tools
