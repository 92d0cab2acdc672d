#include "actors/process/run_host.hpp"
#include "actors/process/run_inputs.hpp"
#include "actors/process/staged_run.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "tools/command.hpp"
#include "tools/commands/pipeline_arguments.hpp"
#include "tools/commands/shown_samples.hpp"
#include "tools/commands/watched_run.hpp"
#include "tools/memory_plan.hpp"

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace millrace::tools {

namespace {

struct run_arguments {
  pipeline_arguments pipeline;
  std::string output;
  bool dry = false;
  std::int64_t samples = 0;
  std::string listen;
};

/// What a run would start with, and nothing of it is started.
int show_run(const std::vector<pipeline::stage>& stages) {
  for (const auto& [name, p] : stages) {
    const std::string head = name.empty() ? "" : "stage " + name + ": ";
    auto warnings = pipeline::schedule_warnings(p);
    for (auto& line : actors::check_inputs(p))
      warnings.push_back(std::move(line));
    for (const auto& warning : warnings)
      std::fprintf(stderr, "%swarning: %s\n", head.c_str(), formats::printable_lines(warning).c_str());
  }
  std::fputs(memory_in_words(stages).c_str(), stderr);
  std::fputs(pipeline::resolved_stages(stages).c_str(), stdout);
  want_memory(stages);
  return 0;
}

int start_run(const run_arguments& given) {
  const auto stages = pipeline::read_stages(given.pipeline.files, with_listen(given.pipeline.overrides, given.listen));
  if (given.dry)
    return show_run(stages);
  want_memory(stages);
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
Files compose: each is laid over those before it. Tables merge key by key; values and lists are replaced.
    millrace run base.toml experiment.toml --set run.seed=2
The [[stage]]s of a file run one after another, each in a folder of its own in the run's.
Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 stop with a checkpoint; `millrace resume DIR` goes on from it.
Exit status: 0 finished, 1 failed (one line says why), 2 wrong command line, 3 stopped before its end.)",
      .arguments = {given->pipeline.file(),
                    given->pipeline.set(),
                    {.name = "--output",
                     .to = &given->output,
                     .help = "Folder for the run's files; default runs/NAME-DATE-N"},
                    {.name = "--dry-run",
                     .to = &given->dry,
                     .help = "Starts nothing: checks the pipeline and its inputs, prints it with every key spelled "
                             "out on stdout, and on stderr how much memory its processes take at most"},
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
